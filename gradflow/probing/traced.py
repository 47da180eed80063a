"""The forward pass that everything here starts with: traced, and the model left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.determinism import preserved_random_state
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.probing.loss import Loss, evaluate_loss
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import call_model, traceable
from gradflow.units.finding import require_units, selector
from gradflow.units.graph import Port
from gradflow.units.leaves import leaves_as_one
from gradflow.units.modules import watching
from gradflow.units.state import preserved_model
from gradflow.units.submodules import Modules, submodules
from gradflow.units.tracing import Observer, TracedUnit, UnitTracer


@dataclass(eq=False)
class TracedForward:
    """A forward pass whose graph is whole; valid inside `traced_forward`.

    Attributes:
        tracer: knows the units, of which there is at least one.
        value: the loss.
        leaves: tensors that stand for the floating-point inputs.
        handling: how batch normalisation ran.
        outputs: what the model returned, if that was to be kept.
    """

    tracer: UnitTracer
    value: Tensor
    leaves: list[Tensor]
    handling: BatchNormHandling
    outputs: Any = None


@contextmanager
def traced_forward(
    model: nn.Module,
    inputs: Inputs,
    targets: Any,
    observer: Observer,
    *,
    loss: Loss | None,
    bn: BatchNormMode,
    units: UnitSelection | None,
    keep_outputs: bool = False,
    modules: Modules | None = None,
) -> Iterator[TracedForward]:
    """Run the forward pass and the loss, and put the model back when the context closes.

    The backward pass belongs inside: gradients are on while the context is open.

    Args:
        model: the network.
        inputs: as for `probe`.
        targets: as for `probe`.
        observer: is shown the values on the way.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.
        keep_outputs: whether what the model returns is wanted; a backward pass need not keep it alive.
        modules: the model's `submodules`, if somebody has asked for them.
    """
    handling = BatchNormHandling(bn)
    selected = selector(units)
    tracer = UnitTracer(observer, selected, handling.overrides)
    called_with, leaves = traceable(inputs)
    tracer.inputs = leaves
    modules = submodules(model) if modules is None else modules
    with preserved_model(model, modules), preserved_random_state(), torch.enable_grad():
        handling.prepare(model, modules)
        with (
            leaves_as_one(modules, tracer, handling.admits),
            watching(model, tracer, selected, modules=modules),
        ):
            outputs = call_model(model, called_with)
        tracer.settle()
        require_units(model, tracer, units)
        value = evaluate_loss(outputs, targets, loss)
        kept = outputs if keep_outputs else None
        del outputs, called_with  # a caller's backward pass must not keep them alive
        yield TracedForward(tracer, value, leaves, handling, kept)


class ValueKeeper:
    """An observer that keeps values, by reference as long as nobody writes to them.

    Args:
        copying: whether to keep copies: a later in-place operation may change a value.

    Attributes:
        values: x_l at each fork, y_l, and x_{l+1} after the last unit, by port, and sums that might have
            been y_l.
        branches: F(x_l) of each unit.
        shortcuts: h(x_l) of each unit; None for a named block.
    """

    def __init__(self, *, copying: bool) -> None:
        self.values: dict[Port, Tensor] = {}
        self.branches: list[Tensor] = []
        self.shortcuts: list[Tensor | None] = []
        self._copying = copying
        self._versions: list[tuple[Tensor, int]] = []

    @property
    def overwritten(self) -> bool:
        """Whether a value that was kept by reference has been changed in place since."""
        return any(value._version != version for value, version in self._versions)  # noqa: SLF001 - documented

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Keep a value that is used twice."""
        self._keep(port, value)

    def operands(self, first: Tensor | None, second: Tensor) -> tuple[Tensor | None, Tensor]:
        """Keep what is to be added."""
        return None if first is None else self._kept(first), self._kept(second)

    def total(self, port: Port, value: Tensor, seen: tuple[Tensor | None, Tensor]) -> None:
        """Keep the sum."""
        self._keep(port, value)

    def unit(self, unit: TracedUnit, seen: tuple[Tensor | None, Tensor]) -> None:
        """Note which of the operands are F(x_l) and h(x_l), which is x_l where h is the identity."""
        shortcut, branch = unit.in_roles(*seen)
        assert branch is not None, "only a named block has one value, the second"
        if shortcut is not None and unit.shortcut == "identity":
            shortcut = self.values.setdefault(unit.fork, shortcut)
        self.branches.append(branch)
        self.shortcuts.append(shortcut)

    def out_value(self, port: Port, value: Tensor) -> None:
        """Keep f(y_l)."""
        self._keep(port, value)

    def _keep(self, port: Port, value: Tensor) -> None:
        if port not in self.values:
            self.values[port] = self._kept(value)

    def _kept(self, value: Tensor) -> Tensor:
        value = value.detach()
        if self._copying:
            return value.clone()
        self._versions.append((value, value._version))  # noqa: SLF001 - as above
        return value
