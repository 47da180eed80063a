"""Objects that a user names as `package.module:callable`, and dependencies that may be broken."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from gradflow.errors import GradflowError, InstallationError


def is_object_name(text: str) -> bool:
    """Whether `text` has the form `package.module:callable`."""
    module, colon, attribute = text.partition(":")
    return bool(colon) and all(
        part.isidentifier() for dotted in (module, attribute) for part in dotted.split(".")
    )


def import_object(name: str, error: type[GradflowError]) -> Any:
    """Return what `package.module:attribute` names.

    Modules of the current directory are found too: it is put at the end of `sys.path`, where
    it hides no installed module, and stays there for imports that the module makes later.

    Args:
        name: dotted module, colon, dotted attribute.
        error: what to raise, for the caller knows what the name was for.

    Raises:
        GradflowError: an `error`, if `name` has another form, or its import fails.
    """
    if not is_object_name(name):
        raise error(f"'{name}' is no name of an object; expected package.module:callable")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()
    module_name, _, attribute = name.partition(":")
    try:
        value: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as missing:
        if missing.name is None or not f"{module_name}.".startswith(f"{missing.name}."):
            raise error(f"'{name}': {module_name} needs {missing.name}, which is missing") from missing
        raise error(
            f"'{name}': there is no module {missing.name}; run in the directory that holds it, or install it"
        ) from missing
    except Exception as failure:
        raise error(f"'{name}': importing {module_name} failed: {describe(failure)}") from failure
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise error(f"'{name}': module {module_name} has no '{attribute}'")
        value = getattr(value, part)
    return value


def call_with(function: Callable[..., Any], **offered: Any) -> Any:
    """Call `function` with those of the keyword arguments `offered` that its signature names.

    A function that takes any keyword (``**kwargs``) is offered none of them: it may pass them on.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a callable written in C need not have one
        return function()
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = {
        key: value for key, value in offered.items() if key in parameters and parameters[key].kind in keyword
    }
    return function(**taken)


def import_dependency(name: str, extra: str | None = None) -> ModuleType:
    """Import a package that gradflow uses only here and there, such as torchvision or timm.

    Args:
        name: of the package.
        extra: gradflow's own extra that brings it.

    Raises:
        InstallationError: if it is missing or cannot work with the torch that is installed.
    """
    try:
        importlib.import_module(
            "numpy"
        )  # torch swallows a Ctrl-C while it imports numpy, and goes on without
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        package = name.partition(".")[0]
        if missing.name is not None and missing.name.partition(".")[0] == package:
            what = package if extra is None else f"'gradflow[{extra}]'"
            raise InstallationError(f"{package} is not installed; run: pip install {what}") from missing
        raise InstallationError(
            f"{package} cannot be imported: {missing.name} is missing; "
            f"run: pip install --force-reinstall {package}"
        ) from missing
    except (ImportError, OSError, RuntimeError) as failure:
        # A torch from one source and a torchvision from another end in
        # "RuntimeError: operator torchvision::nms does not exist".
        if "torchvision" in str(failure):
            raise InstallationError(
                "torchvision cannot be imported: it was not built for the installed torch "
                f"({describe(failure)}); reinstall both from the package registry: "
                "pip install --force-reinstall torch torchvision"
            ) from failure
        raise InstallationError(f"{name} cannot be imported: {describe(failure)}") from failure


def describe(failure: BaseException) -> str:
    """Return an exception's type and message on one line."""
    message = " ".join(str(failure).split())
    return f"{type(failure).__name__}: {message}" if message else type(failure).__name__
