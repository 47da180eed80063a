"""Gradient-flow analysis for residual networks (He et al. 2016, arXiv:1603.05027).

The public names are loaded on first use: `gradflow --help` and `gradflow report` never wait for
torch, and `gradflow.load_record` works where torch is not installed.

    >>> import gradflow
    >>> gradflow.__version__.count(".")
    2
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradflow.errors import GradflowError

if TYPE_CHECKING:
    from gradflow.equations import check
    from gradflow.models import build_model
    from gradflow.paths import lesion, path_gradients
    from gradflow.probing import probe
    from gradflow.record import Record, load_record
    from gradflow.recording import Recorder
    from gradflow.spectrum import singular_values
    from gradflow.units import ResidualUnit, find_units

__version__ = "0.1.0"

__all__ = [
    "GradflowError",
    "Record",
    "Recorder",
    "ResidualUnit",
    "__version__",
    "build_model",
    "check",
    "find_units",
    "lesion",
    "load_record",
    "path_gradients",
    "probe",
    "singular_values",
]

_MODULES = frozenset({"testing"})
"""Submodules that users reach through the package, loaded on first use, too."""

# No submodule may bear one of these names: importing it would put the module in the name's place.
_HOMES = {
    "Record": "gradflow.record",
    "Recorder": "gradflow.recording",
    "ResidualUnit": "gradflow.units",
    "build_model": "gradflow.models",
    "check": "gradflow.equations",
    "find_units": "gradflow.units",
    "lesion": "gradflow.paths",
    "load_record": "gradflow.record",
    "path_gradients": "gradflow.paths",
    "probe": "gradflow.probing",
    "singular_values": "gradflow.spectrum",
}


def __getattr__(name: str) -> Any:
    """Load the public name `name` from the module that defines it (PEP 562).

    Raises:
        AttributeError: if gradflow has no such name.
    """
    if name in _MODULES:
        return importlib.import_module(f"gradflow.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'gradflow' has no attribute '{name}'; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # found directly from now on
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
