"""`find_units`: the residual units of any network, without editing it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from gradflow.determinism import preserved_random_state
from gradflow.errors import NoResidualUnitError, ProbeError
from gradflow.units.calling import Inputs, call_model, traceable
from gradflow.units.eager import eager
from gradflow.units.explaining import ExplainingTracer, Explanation, explain_units
from gradflow.units.modules import watching
from gradflow.units.state import preserved_model
from gradflow.units.tracing import Bystander, PassedOver, TracedUnit, UnitTracer

UnitSelection = str | Iterable[str]
"""A regular expression that matches whole module names, or the names themselves."""


@dataclass(frozen=True)
class ResidualUnit:
    """One residual unit of a network: y_l = h(x_l) + F(x_l), x_{l+1} = f(y_l).

    Attributes:
        index: 0-based order of execution, l.
        name: qualified name of the module whose forward adds the two operands.
        stage: index of the run of units with equal feature-map size and width.
        shortcut: what h is: identity, projection, padding, scaled, gated, dropout, other,
            or none for a block that was named outright.
        post_activation: what f is: identity, relu, layer_norm, batch_norm+relu, …
        shape: shape of y_l.
        branch_parameters: qualified names of F's parameters.
        shortcut_parameters: qualified names of h's parameters.
        explanation: why this is a unit, where `find_units` found it; None in a measurement.
    """

    index: int
    name: str
    stage: int
    shortcut: str
    post_activation: str
    shape: tuple[int, ...]
    branch_parameters: tuple[str, ...]
    shortcut_parameters: tuple[str, ...]
    explanation: Explanation | None = field(default=None, compare=False)


class FoundUnits(list[ResidualUnit]):
    """The units of a network, in order of execution, and what was passed over."""

    def __init__(self, units: Iterable[ResidualUnit], passed_over: Iterable[PassedOver]) -> None:
        super().__init__(units)
        self.passed_over = list(passed_over)


def find_units(model: nn.Module, inputs: Inputs, *, units: UnitSelection | None = None) -> FoundUnits:
    """Find the residual units that `model` runs on `inputs`.

    One forward pass, in the mode that the model is in. The model, its buffers and the
    random state are left as they were.

    Args:
        model: any network.
        inputs: a tensor, or a tuple or dict of the model's arguments.
        units: a regular expression for whole module names, or a list of names. Keeps only
            additions in modules of these names, and takes a named module without one as a
            unit of its own, with shortcut 'none'.

    Returns:
        the units, each with its `explanation`, in a list with an attribute `passed_over`: the
        additions that are not a residual unit's, where they stand, and why.

    Raises:
        NoResidualUnitError: if there is no unit; its `passed_over` says why not.
    """
    model = eager(model)
    selected = selector(units)
    tracer = ExplainingTracer(Bystander(), selected)
    called_with, tracer.inputs = traceable(inputs)
    with (
        preserved_model(model),
        preserved_random_state(),
        torch.enable_grad(),
        watching(model, tracer, selected),
    ):
        call_model(model, called_with)
    tracer.settle()
    require_units(model, tracer, units)
    found = describe(dict(model.named_parameters()), tracer)
    explained = zip(found, explain_units(tracer), strict=True)
    return FoundUnits((replace(unit, explanation=why) for unit, why in explained), found.passed_over)


def selector(units: UnitSelection | None) -> Callable[[str], bool] | None:
    """Return the test whether a module's name is among `units`; None if all are wanted.

    Raises:
        ProbeError: if `units` is no regular expression.
    """
    if units is None:
        return None
    if not isinstance(units, str):
        return set(units).__contains__
    try:
        pattern = re.compile(units)
    except re.error as error:
        raise ProbeError(f"units: '{units}' is not a regular expression: {error}") from error
    return lambda name: pattern.fullmatch(name) is not None


def require_units(model: nn.Module, tracer: UnitTracer, units: UnitSelection | None) -> None:
    """Insist that something was found.

    Raises:
        NoResidualUnitError: if nothing was.
    """
    if tracer.units:
        return
    over = tuple(tracer.passed_over)
    name = type(model).__name__
    if units is not None:
        raise NoResidualUnitError(
            f"no module of {name} that runs matches units={units!r}, and a name must match as a whole; "
            f"modules at the top: {', '.join(child for child, _ in model.named_children()) or 'none'}",
            over,
        )
    seen = len(tracer.passed_over)
    raise NoResidualUnitError(
        f"{name} has no residual unit ({seen} addition{'' if seen == 1 else 's'} of equal shapes seen, "
        "none with a shortcut and a branch); name its blocks outright with units= or --units REGEX, "
        r"such as --units 'stage\d\.\d+'",
        over,
    )


def stages(units: Sequence[TracedUnit]) -> list[int]:
    """Return the stage of each unit: the index of its run of equal shapes of y_l."""
    found: list[int] = []
    for unit in units:
        if not found:
            found.append(0)
        else:
            found.append(found[-1] + (unit.shape[1:] != units[len(found) - 1].shape[1:]))
    return found


def describe(parameters: Mapping[str, Tensor], tracer: UnitTracer) -> FoundUnits:
    """Return what `tracer` found, in words and names that outlive the graph.

    Args:
        parameters: the model's parameters by name.
        tracer: has seen a forward pass.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}  # torch hashes a tensor in Python

    def named(parameters: Iterable[Tensor]) -> tuple[str, ...]:
        return tuple(names[id(parameter)] for parameter in parameters if id(parameter) in names)

    return FoundUnits(
        (
            ResidualUnit(
                index=unit.index,
                name=unit.name,
                stage=stage,
                shortcut=unit.shortcut,
                post_activation=unit.post_activation,
                shape=tuple(unit.shape),
                branch_parameters=named(unit.branch_parameters),
                shortcut_parameters=named(unit.shortcut_parameters),
            )
            for unit, stage in zip(tracer.units, stages(tracer.units), strict=True)
        ),
        tracer.passed_over,
    )
