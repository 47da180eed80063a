"""One forward and one backward pass, with everything attached that reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from gradflow.errors import ProbeError
from gradflow.probing.backward import BackwardMeasures, UnitGradients
from gradflow.probing.batch_norm import BatchNormMode
from gradflow.probing.forward import ForwardMeasures, UnitValues
from gradflow.probing.loss import Loss, root_of
from gradflow.probing.parts import Listener, PartReader, UnaddableError
from gradflow.probing.reductions import Reducer
from gradflow.probing.together import Listeners
from gradflow.probing.traced import TracedForward, traced_forward
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import batch_size
from gradflow.units.finding import FoundUnits, describe
from gradflow.units.graph import is_leaf, leaf_of
from gradflow.units.path_words import PathWords, read_head, read_paths
from gradflow.units.runs import Run, identity_runs
from gradflow.units.submodules import Modules, parameters_by_name, submodules
from gradflow.units.tracing import TracedUnit

Differentiate = Callable[[list[Tensor], bool], Sequence[Tensor | None]]
"""Runs a backward pass, keeping the graph if told so; returns the gradients of the given parameters."""


@dataclass(eq=False)
class Passes:
    """What one forward and one backward pass showed.

    Attributes:
        units: the units, with their places in the (used up) graph.
        described: the same in names, with what was passed over.
        runs: runs of units of the form of eq. 3.
        values: what the forward pass showed of each unit.
        gradients: what the backward pass showed of each unit.
        numel: elements of each unit's x_l.
        parameters: the model's parameters, by name.
        parameter_gradients: for each parameter that needs a gradient, by name, the gradient or None.
        input_gradients: gradients of the inputs, if they were taken.
        batch: samples in the batch.
        value: the loss.
        samples_coupled: whether batch statistics went into the gradient.
        words: what stands in each unit's branch.
        head: what stands behind the last unit, `read_head`.
        entering: how parameters enter their units, by name, `PathWords.entering`.
    """

    units: list[TracedUnit]
    described: FoundUnits
    runs: list[Run]
    values: list[UnitValues]
    gradients: list[UnitGradients]
    numel: list[int]
    parameters: dict[str, Tensor]
    parameter_gradients: dict[str, Tensor | None]
    input_gradients: tuple[Tensor | None, ...]
    batch: int
    value: Tensor
    samples_coupled: bool
    words: list[PathWords]
    head: str | None
    entering: dict[str, str]

    @property
    def loss(self) -> float:
        """The loss as a number."""
        return float(self.value)


def run_passes(
    model: nn.Module,
    inputs: Inputs,
    targets: Any,
    *,
    loss: Loss | None,
    bn: BatchNormMode,
    units: UnitSelection | None,
    modules: Modules | None = None,
) -> Passes:
    """Run both passes with everything attached, and leave the model as it was.

    Args:
        model: the network; this and the next ones as for `probe`.
        inputs: what it is called with.
        targets: what its outputs are held against.
        loss: of the two.
        bn: how batch normalisation runs.
        units: the units that are wanted.
        modules: the model's `submodules`, if somebody has asked for them.

    Raises:
        ProbeError: if the batch is empty or there is no scalar loss with a gradient.
        NoResidualUnitError: if there is no unit.
    """
    modules = submodules(model) if modules is None else modules
    batch, named = subject(model, inputs, modules)

    def run(*, in_place_of_engine: bool) -> Passes:
        observer = ForwardMeasures(Reducer(batch))
        opened = partial(traced_forward, model, inputs, targets, observer, modules=modules)
        with opened(loss=loss, bn=bn, units=units) as forward:
            return measured(forward, observer, named, batch, in_place_of_engine=in_place_of_engine)

    try:
        return run(in_place_of_engine=True)
    except UnaddableError:
        return run(in_place_of_engine=False)


def subject(model: nn.Module, inputs: Inputs, modules: Modules) -> tuple[int, dict[str, Tensor]]:
    """Return the samples in the batch, and the model's parameters by name.

    Args:
        model: the network.
        inputs: what it is called with.
        modules: its `submodules`.

    Raises:
        ProbeError: if the batch is empty, or no parameter needs a gradient.
    """
    batch = batch_size(inputs)
    if batch == 0:
        raise ProbeError("the batch is empty: inputs must hold a tensor with at least one sample")
    named = parameters_by_name(model, modules)
    if not any(parameter.requires_grad for parameter in named.values()):
        raise ProbeError(
            f"no parameter of {type(model).__name__} needs a gradient; "
            "call model.requires_grad_() before probing"
        )

    return batch, named


def measured(
    forward: TracedForward,
    observer: ForwardMeasures,
    named: dict[str, Tensor],
    batch: int,
    *,
    in_place_of_engine: bool,
    also: Callable[[PartReader], Listener] | None = None,
    differentiate: Differentiate | None = None,
) -> Passes:
    """Run the backward pass that belongs to `forward`, with everything attached.

    Args:
        forward: the forward pass.
        observer: has measured its values.
        named: the model's parameters by name.
        batch: samples in the batch.
        in_place_of_engine: as for `PartReader`.
        also: makes a second listener, for which the graph is kept whole, and the inputs'
            gradients are taken, too.
        differentiate: runs a backward pass of somebody else's; None runs one that touches no `.grad`.
    """
    tracer, value = forward.tracer, forward.value
    parameters = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    runs = identity_runs(tracer.units)
    numel = [math.prod(unit.fork.shape) for unit in tracer.units]
    reader = PartReader(tracer.units, root_of(value), in_place_of_engine=in_place_of_engine)
    backward = BackwardMeasures(reader.places, runs, observer.reducer)
    words, head = read_paths(tracer.units), read_head(tracer.units[-1], root_of(value))
    tracer.forget_graph()
    wanted = list(parameters.values())
    if also is not None or _stands_on_no_parameter(tracer.units, wanted):
        wanted += forward.leaves
    listener: Listener = backward if also is None else Listeners(also(reader), backward)
    again = reader.needs_graph_again or also is not None
    gradients: Sequence[Tensor | None]
    with reader.hooked(listener), forward.handling.recomputing():
        if differentiate is None:
            gradients = torch.autograd.grad(value, wanted, allow_unused=True, retain_graph=again)
        else:
            gradients = differentiate(list(parameters.values()), again)
    if reader.needs_graph_again:
        reader.read_mixed(tracer.units, listener)
    return Passes(
        units=tracer.units,
        described=describe(named, tracer),
        runs=runs,
        values=observer.of(tracer.units),
        gradients=backward.results(),
        numel=numel,
        parameters=named,
        parameter_gradients=dict(zip(parameters, gradients, strict=False)),
        input_gradients=tuple(gradients[len(parameters) :]),
        batch=batch,
        value=value.detach(),
        samples_coupled=forward.handling.samples_coupled,
        words=words,
        head=head,
        entering=_by_name(named, words),
    )


def _by_name(named: dict[str, Tensor], words: Sequence[PathWords]) -> dict[str, str]:
    """Return how parameters enter, the first unit that has one telling."""
    names = {id(parameter): name for name, parameter in named.items()}
    found: dict[str, str] = {}
    for unit in words:
        for parameter, way in unit.entering:
            if id(parameter) in names:
                found.setdefault(names[id(parameter)], way)
    return found


def _stands_on_no_parameter(units: list[TracedUnit], parameters: list[Tensor]) -> bool:
    """Whether some unit's x_l depends on no parameter that needs a gradient, only on the inputs.

    Autograd computes what leads to the tensors that it is asked for. Where a stem is frozen
    or absent, that must be the inputs, or the first fork would not be reached.
    """
    wanted = {id(parameter) for parameter in parameters}
    reaching: set[Node] = set()
    for unit in units:
        stack, seen, found = [unit.fork.node], {unit.fork.node}, False
        while stack and not found:
            node = stack.pop()
            for origin, _ in node.next_functions:
                if origin is None:
                    continue
                if (is_leaf(origin) and id(leaf_of(origin)) in wanted) or origin in reaching:
                    found = True
                elif origin not in seen and not is_leaf(origin):
                    seen.add(origin)
                    stack.append(origin)
        if not found:
            return True
        reaching |= seen
    return False
