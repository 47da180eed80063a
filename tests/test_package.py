"""The package as a user installs and imports it."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gradflow

CHECKOUT = Path(__file__).resolve().parents[1]


def run_python(code: str) -> str:
    """Run `code` in a fresh interpreter that sees the same gradflow, and return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.skipif(
    "GRADFLOW_TEST_INSTALLED" not in os.environ, reason="only `nox -s tests` tests the installed wheel"
)
def test_the_installed_wheel_is_what_is_tested() -> None:
    """Under nox, gradflow is imported from the installed wheel and not from the checkout."""
    assert Path(gradflow.__file__).resolve().parent != CHECKOUT / "gradflow"
    assert "site-packages" in Path(gradflow.__file__).parts


@pytest.mark.parametrize("name", [name for name in gradflow.__all__ if name != "__version__"])
def test_public_names_resolve_to_what_they_name(name: str) -> None:
    """Each public name is the object of that name, and stays it after its home was imported."""
    value = getattr(gradflow, name)
    assert value.__name__ == name
    assert callable(value)


def test_no_submodule_shadows_a_public_name() -> None:
    """No module of the package has the name of a public function, which its import would replace."""
    submodules = {module.name for module in pkgutil.iter_modules(gradflow.__path__)}
    assert not submodules & set(gradflow.__all__)


def test_unknown_name_is_an_attribute_error_that_lists_the_names() -> None:
    """A name that gradflow does not have is refused with the ones it has."""
    with pytest.raises(AttributeError, match=r"no attribute 'probes'; it has .*\bprobe\b"):
        _ = gradflow.probes


def test_dir_lists_the_public_names() -> None:
    """Completion in a shell shows the lazy names."""
    assert dir(gradflow) == sorted(gradflow.__all__)


def test_importing_gradflow_imports_nothing_heavy() -> None:
    """`import gradflow` alone loads neither torch nor pandas nor matplotlib."""
    code = "import gradflow, sys; print([m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    assert run_python(code) == "[]"


def test_reading_a_record_needs_no_torch() -> None:
    """`gradflow.load_record` is loaded without torch."""
    assert run_python("import gradflow, sys; gradflow.load_record; print('torch' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.walk_packages(gradflow.__path__, "gradflow.")]
)
def test_examples_in_docstrings_are_right(name: str) -> None:
    """Each module can be imported by itself, and the examples in its docstrings print what they say."""
    if name != "gradflow.__main__":
        assert doctest.testmod(importlib.import_module(name)).failed == 0
