"""Additions of a shorter and a longer path from one value that are no residual unit's."""

from __future__ import annotations

import torch
from torch.autograd.graph import Node

from gradflow.units.fork import BOTH, FIRST, Walk
from gradflow.units.graph import is_leaf
from gradflow.units.linearity import nonlinear
from gradflow.units.naming import ParameterNames
from gradflow.units.operations import (
    LAYOUT,
    POSITIVE,
    PROJECTION,
    RESCALING,
    SLICES,
    SWITCHES,
    is_frozen,
    is_made_of_leaves,
    operation,
)


def why_no_fork(walk: Walk) -> str | None:
    """Return why the two operands have no x_l."""
    if walk.fork is None:
        return "its operands do not come from one tensor"
    if walk.mixed_outputs:
        return "its operands come from different outputs of one operation (a split or chunk)"
    if walk.side_inputs and operation(walk.fork.node) in SWITCHES:
        return "what its operands share is a gate, not a signal"
    return None


def why_no_shortcut(walk: Walk, side: int) -> str | None:
    """Return why operand `side` is no shortcut, though nothing but what shortcuts hold is on its way."""
    nodes, edges = walk.nodes_of(side), walk.edges_of(side)
    # Without a node of its own it must be the fork itself, not another value that the branch reads.
    if not edges and (nodes or not walk.starts_at_fork(side)):
        return "the shorter operand has no way of its own to the fork: it is made of what the branch reads"
    if edges and all(operation(edge.consumer) in SLICES for edge in walk.edges):
        return "its operands are different slices of one tensor"
    projecting = [node for node in nodes if operation(node) in PROJECTION]
    has_weight = any(leaf.ndim > 1 for leaf in walk.parameters_of(side))
    if projecting and not has_weight and not all(map(is_frozen, projecting)):
        return "the shorter operand projects with a weight that the branch uses too"
    return None


def why_no_branch(walk: Walk, side: int) -> str | None:
    """Return why operand `side` is no branch, though it has parameters."""
    nodes = [*walk.nodes_of(side), *walk.nodes_of(BOTH)]
    if all(operation(node) in RESCALING for node in nodes):
        return "the longer operand only scales and shifts the shorter one, as a normalisation does"
    if _is_added_parameter(walk):
        return "its shorter operand is a parameter that the branch adds, too: an embedding of positions"
    if walk.side_inputs and _adds_another_stream(walk, walk.interior):
        return "the branch reads the sum of another stream: coupled streams, as in a reversible network"
    return None


def why_no_unit_with_projection(walk: Walk, side: int, names: ParameterNames) -> str | None:
    """Return why `side` is no branch beside a projection, though it would be one beside x_l itself.

    Args:
        walk: from the addition.
        side: the operand.
        names: may say that the other operand is a shortcut, where both are linear.
    """
    assert walk.fork is not None
    path = [*walk.nodes_of(side), *walk.nodes_of(BOTH)]
    linear = not nonlinear(path, {walk.fork.node, *walk.interior})
    if linear and not names.say_shortcut(walk.parameters_of(BOTH ^ side), walk.parameters_of(side)):
        return (
            "both operands are linear in one tensor, so that their sum is one linear map, and none a shortcut"
        )
    end = _moved_from(walk.operands[0 if side == FIRST else 1].node)
    if operation(end).startswith("Upsample"):
        return "the longer operand comes back from a coarser resolution: a feature pyramid's lateral sum"
    if _is_scale_of_noise(end):
        return "a mean and a standard deviation times noise: a sample of a distribution, not a unit"
    return None


def _moved_from(node: Node) -> Node:
    """Return the node that computed what `node` only moves about."""
    while operation(node) in LAYOUT and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node


def _is_scale_of_noise(node: Node) -> bool:
    """Whether `node` multiplies what is positive by its form by something that has no gradient."""
    origins = [origin for origin, _ in node.next_functions if origin is not None]
    if operation(node) != "Mul" or len(origins) != 1 or is_leaf(origins[0]):
        return False
    return operation(_moved_from(origins[0])) in POSITIVE


def _is_added_parameter(walk: Walk) -> bool:
    """Whether x_l is nothing but a parameter, and the branch begins by adding it to something."""
    added = any(operation(edge.consumer) == "Add" for edge in walk.edges)
    return added and walk.fork is not None and is_made_of_leaves(walk.fork.node)


def _adds_another_stream(walk: Walk, interior: frozenset[Node]) -> bool:
    """Whether a value of x_l's shape from before the fork is added to something made from x_l.

    In a reversible network y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁): each stream's branch holds the other
    stream's addition. Positions that are added to x_l itself are no such thing.
    """
    for node in interior:
        origins = [origin for origin, _ in node.next_functions if origin is not None]
        if operation(node) == "Add" and len(origins) == 2:
            for stream, other in (origins, reversed(origins)):
                if stream in walk.side_inputs and other in interior and _has_shape_of_fork(other, walk):
                    return True
    return False


def _has_shape_of_fork(node: Node, walk: Walk) -> bool:
    assert walk.fork is not None
    kinds = node._input_metadata  # noqa: SLF001 - documented on Node
    return any(torch.Size(kind.shape) == walk.fork.shape for kind in kinds)
