"""Which module is measured: the eager one, or none."""

from __future__ import annotations

import torch
from torch import nn

from gradflow.errors import ProbeError
from gradflow.units.submodules import Modules, submodules


def eager(model: nn.Module) -> nn.Module:
    """Return the eager module beneath a compiled one.

    A compiled module runs no hooks, in silence, so it is never measured itself.

    Raises:
        ProbeError: as for `eager_modules`.
    """
    return eager_modules(model)[0][1]


def eager_modules(model: nn.Module) -> Modules:
    """Return the `submodules` of the eager module beneath a compiled one, itself first.

    Raises:
        ProbeError: if part of the model is compiled in place or is TorchScript, where no
            function mode sees inside.
    """
    model = getattr(model, "_orig_mod", model)
    modules = submodules(model)
    for name, module in modules:
        # Looked up where they would be set: asking a module for what it lacks is slow.
        compiled = vars(module).get("_compiled_call_impl") is not None or "_orig_mod" in module._modules  # noqa: SLF001
        if compiled or isinstance(module, torch.jit.ScriptModule):
            where = name or type(model).__name__
            if compiled:
                raise ProbeError(f"{where} is compiled, which hides its units; probe before torch.compile")
            raise ProbeError(
                f"{where} is TorchScript, which cannot be measured; give the module it came from"
            )
    return modules
