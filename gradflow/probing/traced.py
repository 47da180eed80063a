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
from gradflow.units.classification import Split
from gradflow.units.finding import require_units, selector
from gradflow.units.graph import Port
from gradflow.units.modules import watching
from gradflow.units.state import preserved_model
from gradflow.units.tracing import Observer, TracedUnit, UnitTracer


@dataclass(eq=False)
class TracedForward:
    """A forward pass whose graph is whole; valid inside `traced_forward`.

    Attributes:
        tracer: knows the units, of which there is at least one.
        value: the loss.
        leaves: tensors that stand for the floating-point inputs.
        handling: how batch normalisation ran.
    """

    tracer: UnitTracer
    value: Tensor
    leaves: list[Tensor]
    handling: BatchNormHandling


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
    """
    handling = BatchNormHandling(bn)
    selected = selector(units)
    tracer = UnitTracer(observer, selected, handling.overrides)
    called_with, leaves = traceable(inputs)
    with preserved_model(model), preserved_random_state(), torch.enable_grad():
        handling.prepare(model)
        with watching(model, tracer, selected):
            outputs = call_model(model, called_with)
        require_units(model, tracer, units)
        value = evaluate_loss(outputs, targets, loss)
        del outputs, called_with  # a caller's backward pass must not keep them alive
        yield TracedForward(tracer, value, leaves, handling)


class ValueKeeper:
    """An observer that copies values: a later in-place operation may change them.

    Attributes:
        values: x_l at each fork, y_l, and x_{l+1} after the last unit, by port.
        branches: F(x_l) of each unit.
    """

    def __init__(self) -> None:
        self.values: dict[Port, Tensor] = {}
        self.branches: list[Tensor] = []

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Copy a value that is used twice."""
        self._keep(port, value)

    def operands(self, split: Split | None, shortcut: Tensor | None, branch: Tensor) -> None:
        """Copy F(x_l), and x_l where the shortcut is it."""
        self.branches.append(branch.clone())
        if split is not None and split.shortcut == "identity" and shortcut is not None:
            self._keep(split.fork, shortcut)

    def total(self, unit: TracedUnit, value: Tensor) -> None:
        """Copy y_l."""
        self._keep(unit.total, value)

    def out_value(self, port: Port, value: Tensor) -> None:
        """Copy f(y_l)."""
        self._keep(port, value)

    def _keep(self, port: Port, value: Tensor) -> None:
        if port not in self.values:
            self.values[port] = value.clone()
