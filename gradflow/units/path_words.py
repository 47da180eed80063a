"""What a gradient meets in a branch, and behind the last unit, in words that outlive the graph.

A record keeps numbers at a unit's edges. Why one of them is 0, or what a sum goes into, is told by the
operations that stand there and by the way in which parameters enter them: nothing goes back through a
factor of 0, and everything through a summand of 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.graph import Port, between, is_leaf, leaf_of, order
from gradflow.units.operations import (
    LAYOUT,
    NORMALISATION,
    PROJECTION,
    SCALING,
    SLICES,
    is_product_of_values,
    operation,
    words_for,
)
from gradflow.units.tracing import TracedUnit

ADDS, MULTIPLIES, ON_SHORTCUT = "adds", "multiplies", "shortcut"
"""How a parameter enters a unit: a summand or a factor in the branch, or somewhere on the shortcut."""

WRITTEN_OUT = "normalisation"
"""The word for a value that is multiplied by a statistic of its own, or divided by one."""

BY_CONSTANT = "mul_by_constant"
"""The word for a value that is multiplied by what has no gradient: a mask, or a number."""

_NOTHING = {"RegisterPostBackwardFunction"}  # stands where fully_shard waits for a module's gradients
_STATISTICS = {"Mean", "Sum", "Var", "VarMean", "Std", "LinalgVectorNorm", "Norm"}
_OF_A_WEIGHT = LAYOUT | SLICES | {"Split", "SplitWithSizes", "Unbind", "Chunk"}
"""What stands between a parameter, or a part of it, and the operation that uses it."""

_SUMMANDS = {
    "Add": (0, 1),
    "Sub": (0, 1),
    "Addmm": (0,),
    "Baddbmm": (0,),
    "Addcmul": (0,),
    "Linear": (2,),
} | dict.fromkeys([*NORMALISATION, *(name for name in PROJECTION if name.endswith("Convolution"))], (2,))
"""At which inputs of an operation a parameter is added."""

_FACTORS = SCALING | set(NORMALISATION) | PROJECTION | {"Baddbmm", "Addcmul"}


Origins = dict[Node, list[Node | None]]
"""Nodes in the order of the forward pass, and what each was made of."""


@dataclass(frozen=True, eq=False)
class PathWords:
    """What stands at the two ends of a unit's branch, and how parameters enter it.

    Attributes:
        start: operations from x_l to the first weight on each way, each named once, as
            'layer_norm+addmm'; None for a named block, which is no branch.
        end: operations from the last weight, or from where several ways meet, to the addition; likewise.
        entering: parameters in the unit, each with `ADDS`, `MULTIPLIES` or `ON_SHORTCUT`, of which the first
            counts if there are several; others are not told.
    """

    start: str | None = None
    end: str | None = None
    entering: list[tuple[Tensor, str]] = field(default_factory=list)


def read_paths(units: Sequence[TracedUnit]) -> list[PathWords]:
    """Return the words for each unit; its graph must be whole.

    Values that a node keeps are not looked at: with activation checkpointing that would run the block again.

    Args:
        units: the units of one forward pass.
    """
    found = []
    for unit in units:
        interior = _with_origins(sorted(unit.interior, key=order))
        found.append(PathWords(_start(unit, interior), _end(unit), _entering(unit, interior)))
    return found


def read_head(last: TracedUnit, root: Node) -> str | None:
    """Return the operations from the last unit's y_l to the first weight on each way behind it.

    Args:
        last: the last unit.
        root: the loss's node, at which ways without a weight end.

    Returns:
        words as in `PathWords.start`; None if the loss does not depend on that unit's sum.
    """
    nodes, edges = between(last.total, Port(root, 0))
    if not edges:
        return None
    return _up_to_weights(last.total.node, {edge.consumer for edge in edges}, _with_origins(nodes))


def _with_origins(nodes: Iterable[Node]) -> Origins:
    return {node: [origin for origin, _ in node.next_functions] for node in nodes}


def _start(unit: TracedUnit, interior: Origins) -> str | None:
    if unit.split is None:
        return None
    first = {edge.consumer for edge in unit.branch_edges}
    return _up_to_weights(unit.fork.node, first, interior)


def _up_to_weights(start: Node, first: Collection[Node], nodes: Origins) -> str:
    """Name the operations on the ways from a value to the first weights, those included.

    Args:
        start: the value's node.
        first: the nodes that use it.
        nodes: all that the ways may pass, in the order of the forward pass.
    """
    words: list[str] = []
    passed, statistics = {start}, set[Node]()
    for node, made_of in nodes.items():
        origins = [origin for origin in made_of if origin in passed]
        if not origins or (node not in first and all(origin is start for origin in origins)):
            continue
        name = operation(node)
        if _is_weight(node):
            words += _words(node)
            continue
        passed.add(node)
        derived = any(origin in statistics for origin in origins)
        if name in _STATISTICS or derived:
            statistics.add(node)
        scaled = derived and name in SCALING and len(origins) > 1
        words += [WRITTEN_OUT] if scaled else _words(node)
    return "+".join(dict.fromkeys(words)) or "identity"


def _end(unit: TracedUnit) -> str | None:
    if unit.split is None:
        return None
    words: list[str] = []
    for node in branch_tail(unit):
        words += [BY_CONSTANT] if is_by_constant(node) else _words(node)
    return "+".join(reversed(words)) or "identity"


def branch_tail(unit: TracedUnit) -> list[Node]:
    """Return the nodes from the addition back to the branch's last weight, or to where several ways meet."""
    found: list[Node] = []
    node = unit.branch_output[0].node
    while node in unit.interior:
        found.append(node)
        before = [
            origin for origin, _ in node.next_functions if origin is not None and origin in unit.interior
        ]
        if _is_weight(node) or len(before) != 1:
            break
        node = before[0]
    return found


def is_by_constant(node: Node) -> bool:
    """Whether `node` multiplies or divides a value by what has no gradient: a mask, or a number."""
    return operation(node) in SCALING and sum(origin is not None for origin, _ in node.next_functions) == 1


def _entering(unit: TracedUnit, interior: Origins) -> list[tuple[Tensor, str]]:
    found = [(parameter, ON_SHORTCUT) for parameter in unit.shortcut_parameters]
    for node, made_of in (interior | _with_origins([unit.total.node])).items():
        name = operation(node)
        for index, origin in enumerate(made_of):
            if origin is None or origin in interior or origin is unit.fork.node:
                continue
            leaf = _leaf_behind(origin)
            if leaf is None:
                continue
            if index in _SUMMANDS.get(name, ()):
                found.append((leaf, ADDS))
            elif name in _FACTORS:
                found.append((leaf, MULTIPLIES))
    return found


def _leaf_behind(node: Node) -> Tensor | None:
    """Return the parameter that `node` is, or is a part of; None if it is something else."""
    while not is_leaf(node):
        origins = [origin for origin, _ in node.next_functions if origin is not None]
        if len(origins) != 1 or operation(node) not in _OF_A_WEIGHT:
            return None
        node = origins[0]
    return leaf_of(node)


def _words(node: Node) -> list[str]:
    return [] if operation(node) in _NOTHING else words_for([node])


def _is_weight(node: Node) -> bool:
    return operation(node) in PROJECTION and not is_product_of_values(node)
