"""The same parts by another way: hooks on the modules `shortcut` and `branch` of a unit.

Forward hooks and full backward hooks on a unit's own modules see x_l, h(x_l), F(x_l) and the
two parts of the gradient, in any network whose units have their paths as modules and change
nothing in place, as the zoo's do. Other people's networks do not (``out += identity`` breaks
full backward hooks), which is why the probe hooks the graph's edges. That both ways give the
same numbers on the zoo is a test of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.determinism import preserved_random_state
from gradflow.errors import NoResidualUnitError
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.probing.loss import Loss, evaluate_loss
from gradflow.units import Inputs
from gradflow.units.calling import call_model
from gradflow.units.state import preserved_model

Norms = dict[str, float]


def probe_modules(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
) -> dict[str, Norms]:
    """Measure every module that has a `shortcut` and a `branch` with hooks on those two.

    Args:
        model: a network whose units hold `shortcut` and `branch` as modules.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.

    Returns:
        for each unit's name the columns `x_norm`, `shortcut_norm`, `branch_norm`,
        `grad_sum_norm`, `grad_shortcut_norm` and `grad_branch_norm` of the record.

    Raises:
        NoResidualUnitError: if no module has both.
    """
    found: dict[str, Norms] = {}
    handling = BatchNormHandling(bn)
    with preserved_model(model), preserved_random_state(), torch.enable_grad():
        handling.prepare(model)
        with _hooked(model, found):
            with handling.replacing():
                value = evaluate_loss(call_model(model, inputs), targets, loss)
            parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
            torch.autograd.grad(value, parameters, allow_unused=True)
    return found


@contextmanager
def _hooked(model: nn.Module, found: dict[str, Norms]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in model.named_modules():
            paths = {path: getattr(module, path, None) for path in ("shortcut", "branch")}
            if not all(isinstance(path, nn.Module) for path in paths.values()):
                continue
            norms: Norms = {}
            found[name] = norms
            for path, part in paths.items():
                assert isinstance(part, nn.Module)
                hooks = _PathHooks(norms, path)
                stack.callback(part.register_forward_hook(hooks.forward).remove)
                stack.callback(part.register_full_backward_hook(hooks.backward).remove)
        if not found:
            raise NoResidualUnitError(
                f"{type(model).__name__} has no module with a `shortcut` and a `branch`; `probe` needs none"
            )
        yield


class _PathHooks:
    """The two hooks of one path."""

    def __init__(self, norms: Norms, path: str) -> None:
        self._norms = norms
        self._path = path

    def forward(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        self._norms["x_norm"] = _norm(args[0])
        self._norms[f"{self._path}_norm"] = _norm(output)

    def backward(
        self, module: nn.Module, grad_input: tuple[Tensor, ...], grad_output: tuple[Tensor, ...]
    ) -> None:
        self._norms["grad_sum_norm"] = _norm(grad_output[0])
        self._norms[f"grad_{self._path}_norm"] = _norm(grad_input[0])


def _norm(tensor: Tensor) -> float:
    return float(tensor.detach().double().norm())
