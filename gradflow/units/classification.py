"""Is an addition a residual unit's, and if so, what is its shortcut?

An addition y = a + b is residual when one operand, the branch, passes parameters of its
own between the fork and the addition (or weights that are frozen, or a Fourier transform),
and the other, the shortcut, is bare or shorter, with at most a projection, scale, gate or
dropout; beside a projection the branch is not linear in x_l, for two linear maps are one (unless the author's
names say that one of them is a shortcut). The inner sums of GELU's tanh form and
positional embeddings fail that test, as they must: the first have no parameter, the
second no common origin. What passes it and is no unit all the same is told by `lookalikes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.autograd.graph import Node

from gradflow.units.fork import BOTH, FIRST, SECOND, Walk
from gradflow.units.graph import Edge, Port
from gradflow.units.lookalikes import (
    why_no_branch,
    why_no_fork,
    why_no_shortcut,
    why_no_unit_with_projection,
)
from gradflow.units.naming import ParameterNames
from gradflow.units.operations import (
    DROPOUT,
    FOURIER,
    LAYOUT,
    ON_A_SHORTCUT,
    PADDING,
    POOLING,
    SCALING,
    averages,
    function_name,
    has_gate,
    has_switch,
    is_gated,
    is_product_of_values,
    multiplies_by_mask,
    operation,
    pads,
    projections,
)

OTHER_DIFFERENCE = "it subtracts: of differences only x_l − F(x_l) is measured"
NO_PARAMETERS = "neither operand passes parameters of its own between the addition and the fork"

__all__ = [
    "NO_PARAMETERS",
    "OTHER_DIFFERENCE",
    "Split",
    "function_name",
    "operation",
    "split_addition",
    "split_difference",
]


@dataclass(eq=False, slots=True)
class Split:
    """An addition told apart: which operand is the shortcut, and what each one holds.

    Attributes:
        fork: x_l, the value at the fork.
        shortcut: what h is (a value of the record's `shortcut` column).
        shortcut_operand: 0 or 1, the operand of the addition that is h(x_l).
        shortcut_edges: edges along which ∂E/∂x_l's shortcut part flows into the fork.
        branch_edges: likewise for the branch.
        mixed_edges: edges that both paths use, because they share nodes below the fork (an
            exclusive gate's sigmoid): neither part can be read off them.
        interior: the nodes of both paths that x_l goes into, between the fork and the addition.
        shortcut_parameters: leaves that only the shortcut uses.
        branch_parameters: leaves that the branch uses, shared ones included.
        side_inputs: nodes of values from before the fork that the branch reads beside x_l.
    """

    fork: Port
    shortcut: str
    shortcut_operand: int
    shortcut_edges: tuple[Edge, ...]
    branch_edges: tuple[Edge, ...]
    mixed_edges: tuple[Edge, ...]
    interior: frozenset[Node]
    shortcut_parameters: tuple[torch.Tensor, ...]
    branch_parameters: tuple[torch.Tensor, ...]
    side_inputs: frozenset[Node] = frozenset()

    @property
    def mixed(self) -> bool:
        """Whether the two parts of the gradient mix before they reach the fork."""
        return bool(self.mixed_edges)


def split_addition(walk: Walk, names: ParameterNames | None = None) -> Split | str:
    """Tell shortcut from branch, or say in words why the addition is not a residual unit's.

    Args:
        walk: the walk from the addition's operands.
        names: what the parameters are called, for the case in which the graph cannot tell.

    Returns:
        the split, or the reason for which the addition is passed over.
    """
    reason = why_no_fork(walk)
    if reason or walk.fork is None:
        return reason or ""
    for side in (FIRST, SECOND):
        if walk.starts_at_fork(side) and not walk.side_inputs:
            return _beside_fork(walk, side)
    sizes = {side: _size(walk, side) for side in (FIRST, SECOND)}
    branch = walk.reads_beside or (FIRST if sizes[FIRST] >= sizes[SECOND] else SECOND)
    shortcut = BOTH ^ branch
    if not _has_weights(walk, branch):
        return NO_PARAMETERS
    nodes, shared = walk.nodes_of(shortcut), walk.nodes_of(BOTH)
    foreign = sorted({operation(node) for node in nodes} - ON_A_SHORTCUT)
    if any(is_product_of_values(node, walk.values) for node in nodes) or (
        any(is_gated(node, walk.values) for node in nodes) and not has_switch([*nodes, *shared])
    ):
        foreign.append("a product of values")
    if foreign:
        return f"both operands are branches: the shorter one holds {', '.join(foreign)}"
    if sizes[shortcut] == sizes[branch]:
        return "both operands are equally long, so that neither is the shortcut"
    weights = sizes[shortcut][0]
    if weights > 2:
        return f"both operands are branches: the shorter one holds {weights} weights"
    reason = why_no_shortcut(walk, shortcut) or why_no_branch(walk, branch)
    if not reason and (weights or averages(nodes)):
        reason = why_no_unit_with_projection(walk, branch, names or ParameterNames())
    return reason or _split(walk, shortcut, _shortcut_kind(nodes, weights, has_gate([*nodes, *shared])))


def split_difference(split: Split, walk: Walk) -> Split | str:
    """Return how a difference comes apart, or why it is no unit's.

    Args:
        split: how it would as a sum.
        walk: the walk from its operands.
    """
    if not projections(split.interior, walk.values):
        return "it subtracts what multiplies by no weight"
    is_bare = split.shortcut == "identity" and split.shortcut_operand == 0
    return split if is_bare else OTHER_DIFFERENCE


def _beside_fork(walk: Walk, shortcut: int) -> Split | str:
    """Split an addition of which operand `shortcut` is x_l itself: all else is the branch.

    Most additions are of this kind, and nothing needs to be told apart.
    """
    branch = BOTH ^ shortcut
    if not _has_weights(walk, branch):
        return NO_PARAMETERS
    return why_no_branch(walk, branch) or _split(walk, shortcut, "identity")


def _has_weights(walk: Walk, side: int) -> bool:
    """Whether a path has parameters, weights that are frozen, or a Fourier transform, which is as fixed."""
    if walk.parameters_of(side) or _size(walk, side)[0]:
        return True
    return any(operation(node) in FOURIER for node in walk.nodes_of(side))


def _split(walk: Walk, shortcut: int, kind: str) -> Split:
    assert walk.fork is not None
    branch = BOTH ^ shortcut
    return Split(
        fork=walk.fork,
        shortcut=kind,
        shortcut_operand=0 if shortcut == FIRST else 1,
        shortcut_edges=tuple(walk.edges_of(shortcut)),
        branch_edges=tuple(walk.edges_of(branch)),
        mixed_edges=tuple(walk.edges_of(BOTH)),
        interior=walk.interior,
        shortcut_parameters=tuple(walk.parameters_of(shortcut)),
        branch_parameters=(*walk.parameters_of(branch), *walk.parameters_of(BOTH)),
        side_inputs=walk.side_inputs,
    )


def _size(walk: Walk, side: int) -> tuple[int, int, int]:
    """Return projections, elements of parameters, and nodes of one side's own: what makes a path longer.

    A gate's weight is not one of the path itself. Between two paths of one weight each, a
    1×1 convolution is the shorter beside a 3×3. Projections are counted by what they do, since
    a frozen weight has no leaf in the graph.
    """
    nodes = walk.nodes_of(side)
    weights = len(projections(nodes, walk.values)) - has_gate(nodes)
    return max(weights, 0), sum(leaf.numel() for leaf in walk.parameters_of(side)), len(nodes)


def _shortcut_kind(nodes: list[Node], weights: int, gated: bool) -> str:
    names = {operation(node) for node in nodes} - LAYOUT
    if weights > 0:
        return "projection"
    if pads(nodes):
        return "padding"
    if not names & POOLING:
        names -= PADDING  # of nothing
    if not names:
        return "identity"
    if gated:
        return "gated"
    if names & DROPOUT or any(multiplies_by_mask(node) for node in nodes):
        return "dropout"
    if names <= SCALING:
        return "scaled"
    return "other"
