"""Keeping the tensors themselves, for statements that no norm can decide.

The equations say that tensors are equal, so checking them takes the tensors: x_l, F(x_l),
∂E/∂x_l and the branch's part of it, for every unit. This is the one place that keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from gradflow.probing.batch_norm import BatchNormMode
from gradflow.probing.blocking import hand_on_to
from gradflow.probing.forward import ForwardMeasures
from gradflow.probing.loss import Loss, root_of
from gradflow.probing.parts import PartReader, Parts, Place, vjp
from gradflow.probing.passes import Passes, measured, subject
from gradflow.probing.reductions import Reducer
from gradflow.probing.taps import tapped_before_activation
from gradflow.probing.together import Observers
from gradflow.probing.traced import TracedForward, ValueKeeper, traced_forward
from gradflow.units import Inputs, UnitSelection
from gradflow.units.graph import Port
from gradflow.units.runs import ending_at_additions
from gradflow.units.submodules import submodules
from gradflow.units.tracing import TracedUnit


@dataclass(eq=False)
class Capture:
    """The tensors of one forward and one backward pass; valid inside `captured`.

    Attributes:
        units: the units, in order of execution.
        values: x_l at each fork, and x_{l+1} after the last unit, by port.
        branches: F(x_l) of each unit.
        shortcuts: h(x_l) of each unit; None for a named block.
        gradients: ∂E/∂x at the same ports as `values`.
        branch_parts: b_l = (∂F/∂x)ᵀ ∂E/∂y_l of each unit; None where nothing arrives.
        other: units at whose fork something arrives from outside the unit.
        before_activation: units of which something besides f reads y_l.
        samples_coupled: whether batch statistics went into the gradient.
        loss: value of the loss.
        outputs: what the model returned.
        leaf_gradients: gradients of the parameters that need one, and of the inputs.
        passes: what the probe has measured in the same two passes, if it was to.
    """

    units: list[TracedUnit]
    values: dict[Port, Tensor]
    branches: list[Tensor]
    shortcuts: list[Tensor | None]
    gradients: dict[Port, Tensor]
    branch_parts: list[Tensor | None]
    other: set[int]
    before_activation: set[int]
    samples_coupled: bool
    loss: float
    outputs: Any
    leaf_gradients: tuple[Tensor | None, ...]
    passes: Passes | None

    def ending_at_additions(self) -> Capture:
        """Return the same tensors, with units that end where the next one activates ending at their addition.

        See `gradflow.units.runs.ending_at_additions`.
        """
        return replace(self, units=ending_at_additions(self.units))

    def branch_sum_vjps(self, first: int, cotangents: Sequence[Tensor]) -> list[Tensor]:
        """Return (∂ Σ_{i≥l} F_i / ∂x_l)ᵀ applied to each F_i's cotangent, for each l from `first` on.

        One backward pass serves them all: what arrives at x_l comes from the F_i with i ≥ l alone,
        since the others do not depend on x_l.

        Args:
            first: the first unit of the span.
            cotangents: of F_i for each unit of the span: ∂E/∂x_L, or what the shortcuts after it
                make of that.
        """
        span = self.units[first : first + len(cotangents)]
        outputs = [unit.branch_output for unit in span]
        forks = [GradientEdge(unit.fork.node, unit.fork.output) for unit in span]
        return list(
            torch.autograd.grad(
                [GradientEdge(port.node, port.output) for port, _ in outputs],
                forks,
                [
                    cotangent if factor == 1 else cotangent * factor
                    for cotangent, (_, factor) in zip(cotangents, outputs, strict=True)
                ],
                retain_graph=True,
            )
        )

    def block_vjp(self, block: TracedUnit, cotangent: Tensor) -> Tensor:
        """Return (∂y_l/∂x_l)ᵀ `cotangent` of a block without shortcut, by itself."""
        return vjp(block.total, 1.0, block.fork, cotangent)

    def shortcut_path(self, first: int, last: int, cotangent: Tensor) -> list[Tensor]:
        """Send `cotangent`, ∂E/∂x_L, back from x_L, L = `last` + 1, with every branch blocked.

        Returns what arrives at x_l for each unit of the span.

        One backward pass over units `first` to `last`: at each addition nothing is handed on to
        the branch's operand, so what arrives at x_l came through f and h alone,
        ∏_{i=l}^{L−1} (∂h_i/∂x_i)ᵀ (∂f_i/∂y_i)ᵀ ∂E/∂x_L. A gate's own derivative is on that path; the
        part of an exclusive gate that multiplies the branch is not. Through a block without
        shortcut nothing arrives.
        """
        span = self.units[first : last + 1]
        ports = [unit.fork for unit in span]
        with ExitStack() as stack:
            for unit in span:
                hook = partial(hand_on_to, unit.split.shortcut_operand if unit.split is not None else None)
                stack.callback(unit.total.node.register_hook(hook).remove)
            arrived = torch.autograd.grad(
                [GradientEdge(span[-1].out.node, span[-1].out.output)],
                [GradientEdge(port.node, port.output) for port in ports],
                [cotangent],
                retain_graph=True,
                allow_unused=True,
            )
        return [
            cotangent.new_zeros(port.shape) if part is None else part  # type: ignore[redundant-expr] # allow_unused
            for part, port in zip(arrived, ports, strict=True)
        ]


class _Gradients:
    """A listener that keeps what it hears."""

    def __init__(self, units: list[TracedUnit]) -> None:
        self._units = units
        self._ports: dict[int, Port] = {}
        self.gradients: dict[Port, Tensor] = {}
        self.branch_parts: list[Tensor | None] = [None] * len(units)
        self.other: set[int] = set()

    def of(self, reader: PartReader) -> _Gradients:
        """Listen to `reader`, which has numbers for the units' ports."""
        for place, unit in zip(reader.places, self._units, strict=True):
            self._ports |= {place.fork: unit.fork, place.total: unit.total, place.out: unit.out}
        return self

    def arrived(self, port: int, gradient: Tensor) -> None:
        self.gradients[self._ports[port]] = gradient

    def parts(self, place: Place, parts: Parts) -> Tensor | None:
        self.branch_parts[place.unit] = parts.branch
        if parts.other is not None:
            self.other.add(place.unit)
        return None

    def whole(self, place: Place, arriving: Tensor) -> None:
        """Keep nothing: `arrived` has it."""


@contextmanager
def captured(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    measuring: bool = False,
) -> Iterator[Capture]:
    """Run both passes and keep the tensors, with the graph whole, while the context is open.

    The model is left as it was when the context closes, also after an exception. Memory holds
    what the graph holds, and up to four more tensors a unit: F, its part of the gradient, and
    ∂E/∂x, and y where f is no identity.

    Args:
        model: the network.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.
        measuring: whether to measure in the same two passes what a probe measures.
    """
    batch, named = subject(model, inputs, submodules(model))
    for copying in (False, True):
        keeper, measures = ValueKeeper(copying=copying), ForwardMeasures(Reducer(batch))
        observer = Observers(measures, keeper) if measuring else keeper
        with traced_forward(
            model, inputs, targets, observer, loss=loss, bn=bn, units=units, keep_outputs=True
        ) as forward:
            if keeper.overwritten:  # somebody works in place: once more, with copies
                continue
            traced = forward.tracer.units
            listener = _Gradients(traced)
            passes = None
            if measuring:
                passes = measured(forward, measures, named, batch, in_place_of_engine=False, also=listener.of)
                gradients = (*passes.parameter_gradients.values(), *passes.input_gradients)
            else:
                gradients = _backward(forward, named, listener)
            yield Capture(
                units=traced,
                values=keeper.values,
                branches=keeper.branches,
                shortcuts=keeper.shortcuts,
                gradients=listener.gradients,
                branch_parts=listener.branch_parts,
                other=listener.other,
                before_activation=tapped_before_activation(traced, root_of(forward.value)),
                samples_coupled=forward.handling.samples_coupled,
                loss=float(forward.value.detach()),
                outputs=forward.outputs,
                leaf_gradients=gradients,
                passes=passes,
            )
            return


def _backward(
    forward: TracedForward, named: Mapping[str, Tensor], listener: _Gradients
) -> tuple[Tensor | None, ...]:
    """Run the backward pass and keep what `listener` keeps; return the leaves' gradients."""
    traced, value = forward.tracer.units, forward.value
    reader = PartReader(traced, root_of(value))
    forward.tracer.forget_graph()
    wanted = [parameter for parameter in named.values() if parameter.requires_grad]
    with reader.hooked(listener.of(reader)), forward.handling.recomputing():
        gradients = torch.autograd.grad(
            value, [*wanted, *forward.leaves], allow_unused=True, retain_graph=True
        )
    reader.read_mixed(traced, listener)
    return gradients
