"""Why each unit is one: where it forks, what its two paths hold, where they are added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.fork import BOTH, FIRST, SECOND, Walk, find_fork
from gradflow.units.graph import is_leaf, order
from gradflow.units.linearity import nonlinear
from gradflow.units.operations import projections, words_for
from gradflow.units.traced_unit import TracedUnit
from gradflow.units.tracing import UnitTracer


@dataclass(frozen=True)
class Explanation:
    """The evidence for one unit, in words.

    Attributes:
        addition: Python module and line of the addition, and which operand is the shortcut.
        fork: what x_l is: the operation that made it, the module in which that ran, its shape.
        shortcut: what stands between x_l and the shortcut's operand.
        branch: what stands between x_l and the branch's operand.
        why: the reason for which this is a residual unit.
    """

    addition: str
    fork: str
    shortcut: str
    branch: str
    why: str


class ExplainingTracer(UnitTracer):
    """A tracer that also remembers in which module each value was made."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.made_in: dict[Node, str] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, and note who ran it."""
        result = super().__torch_function__(func, types, args, kwargs)
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                self.made_in.setdefault(value.grad_fn, self.running[-1] if self.running else "")
        return result


def explain_units(tracer: ExplainingTracer) -> list[Explanation]:
    """Return the evidence for each unit of a forward pass, whose graph must still be whole."""
    ends = {unit.out: unit.index for unit in reversed(tracer.units)}
    forks = {unit.fork for unit in tracer.units}
    return [_explain(unit, tracer, ends.get(unit.fork), unit.out in forks) for unit in tracer.units]


def _explain(unit: TracedUnit, tracer: ExplainingTracer, before: int | None, leads_on: bool) -> Explanation:
    fork = _fork(unit, tracer, before)
    if unit.split is None:
        return Explanation(
            addition="none",
            fork=fork,
            shortcut="none",
            branch=f"all of the module; {_count(len(unit.branch_parameters), 'parameter')}",
            why="it was named outright, and no residual addition stands in it",
        )
    operands = [unit.operand(index)[0] for index in (0, 1)]
    walk = find_fork(*operands)
    walk.unchanged = tracer.unchanged
    side = FIRST if unit.split.shortcut_operand == 0 else SECOND
    return Explanation(
        addition=f"{unit.where}; operand {unit.split.shortcut_operand + 1} is the shortcut",
        fork=fork,
        shortcut=_path(walk.nodes_of(side), unit.shortcut_parameters, bare="x_l itself"),
        branch=_branch(walk, BOTH ^ side, unit),
        why=_why(unit, walk, BOTH ^ side, alone=before is None and not leads_on),
    )


def _fork(unit: TracedUnit, tracer: ExplainingTracer, before: int | None) -> str:
    node = unit.fork.node
    shape = format_shape(unit.fork.shape)
    if any(origin is not None and is_leaf(origin) for origin, _ in node.next_functions) and not words_for(
        [node]
    ):
        return f"an input of the network, or a parameter, {shape}"
    made = next(iter(words_for([node])), "moved values")
    end = "" if before is None else f", where unit {before} ends"
    return f"{made} in {tracer.made_in.get(node) or 'the model itself'}, {shape}{end}"


def _branch(walk: Walk, side: int, unit: TracedUnit) -> str:
    assert unit.split is not None
    nodes = sorted([*walk.nodes_of(side), *walk.nodes_of(BOTH)], key=order)
    words = [_path(nodes, unit.branch_parameters, bare="nothing")]
    if unit.split.mixed:
        words.append("shares operations with the shortcut")
    if unit.split.side_inputs:
        count = _count(len(unit.split.side_inputs), "other value")
        words.append(f"also reads {count} from before x_l")
    return "; ".join(words)


def _path(nodes: Sequence[Node], parameters: Sequence[torch.Tensor], *, bare: str) -> str:
    """Return what `nodes` compute, in the order of the forward pass, equal operations together."""
    counts = Counter(words_for(sorted(nodes, key=order)))
    if not counts:
        return bare if not nodes else f"{bare}, moved or reshaped"
    words = ", ".join(f"{name} ×{count}" if count > 1 else name for name, count in counts.items())
    return f"{words}; {_count(len(parameters), 'parameter')}"


_REASONS = {
    "identity": "one operand is x_l, unchanged",
    "projection": "one operand is x_l, projected, and is the shorter path",
    "padding": "one operand is x_l, padded",
    "scaled": "one operand is x_l, scaled",
    "gated": "one operand is x_l, gated",
    "dropout": "one operand is x_l behind dropout",
    "other": "one operand is made from x_l without an activation, and is the shorter path",
}


def _why(unit: TracedUnit, walk: Walk, branch: int, *, alone: bool) -> str:
    parameters = len(unit.branch_parameters)
    if parameters:
        passes = f"{_count(parameters, 'parameter')} between x_l and the addition"
    elif projections(unit.interior, walk.values):
        passes = "weights that are frozen"
    else:
        passes = "a Fourier transform"
    why = f"{_REASONS[unit.shortcut]}; the other passes {passes}"
    if unit.shortcut != "projection":
        return why
    path = sorted([*walk.nodes_of(branch), *walk.nodes_of(BOTH)], key=order)
    bends = dict.fromkeys(words_for(nonlinear(path, {unit.fork.node, *walk.interior})))
    if not bends:
        return f"{why}; both are linear in x_l, and by its name the shorter one is a shortcut"
    ends = "; no other unit ends where it starts or starts where it ends" if alone else ""
    return f"{why} and is not linear in x_l ({', '.join(bends)}){ends}"


def format_shape(shape: Iterable[int]) -> str:
    """Return a shape as people write it: 2 × 64 × 8 × 8."""
    return " × ".join(map(str, shape)) or "one number"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
