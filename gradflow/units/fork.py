"""Where two operands of an addition come together again.

The walk goes against the data and visits nodes by descending sequence number, which autograd gives out in the
order of the forward pass: when a node is visited, all its consumers in the walk have
been. The *fork* (the residual unit's x_l) is the nearest node that both operands reach and
that every path from one of them, the shortcut, passes. Whatever is then left to visit was
made before the fork and is read by the other operand alone: a *side input* of the branch,
such as what cross-attention attends to, or a bias that all layers share.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.autograd.graph import Node

from gradflow.units.graph import Edge, Port, is_leaf, leaf_of, order

FIRST, SECOND = 1, 2
"""Bits that say from which operand of the addition a node was reached."""

BOTH = FIRST | SECOND

_CAST = "ToCopyBackward0"


@dataclass
class Walk:
    """What lies between an addition's operands and their fork.

    Attributes:
        fork: the port through which every path from both operands passes, or None.
        reached: for each node above the fork, by which operands it was reached (bits).
        parameters: leaf tensors above the fork by identity (torch hashes a tensor in Python), likewise.
        edges: edges that end at the fork, likewise. An operand that *is* the fork has none.
        mixed_outputs: the fork's node was reached at more than one of its outputs.
        side_inputs: values from before the fork that one operand reads beside it.
        reads_beside: the operand that does (a bit); 0 if there is no side input.
        operands: where the two operands come from.
        unchanged: nodes that are known to change nothing, such as those of additions of the number 0.
        consumers: for each node that was reached, the fork and side inputs included, who reads it: the node,
            at which of its inputs, by which operands that was reached, and which output it reads.
        values_alone: whether nothing that was reached is made of parameters alone.
    """

    fork: Port | None = None
    reached: dict[Node, int] = field(default_factory=dict)
    parameters: dict[int, tuple[torch.Tensor, int]] = field(default_factory=dict)
    edges: dict[Edge, int] = field(default_factory=dict)
    mixed_outputs: bool = False
    side_inputs: frozenset[Node] = frozenset()
    reads_beside: int = 0
    operands: tuple[Port, ...] = ()
    unchanged: Collection[Node] = ()
    consumers: dict[Node, list[tuple[Node, int, int, int]]] = field(default_factory=dict)
    values_alone: bool = True

    @cached_property
    def interior(self) -> frozenset[Node]:
        """The nodes between the fork and the addition that x_l goes into.

        What a branch makes of parameters alone, such as a bias for all layers, is not among them.
        """
        if self.fork is None:
            return frozenset()
        return frozenset(self.reached) if self.is_all_from_fork else self._made_from([self.fork.node])

    @property
    def is_all_from_fork(self) -> bool:
        """Whether all that was reached is made from the fork's value, so that all ways lead there."""
        return self.values_alone and not self.side_inputs and self.fork is not None

    @cached_property
    def values(self) -> frozenset[Node]:
        """The fork, the side inputs, and all that is made from them.

        What else was reached makes one weight of others: a parametrisation, such as weight normalisation.
        """
        beside = self.side_inputs | self._made_from(self.side_inputs)
        return self.interior | beside if self.fork is None else self.interior | beside | {self.fork.node}

    @cached_property
    def _paths(self) -> dict[int, list[Node]]:
        found: dict[int, list[Node]] = {FIRST: [], SECOND: [], BOTH: []}
        values = self.reached if self.is_all_from_fork else self.values
        unchanged = self.unchanged
        for node, sides in self.reached.items():
            if node in values and node not in unchanged:
                found[sides].append(node)
        return found

    @cached_property
    def _parameters(self) -> dict[int, list[torch.Tensor]]:
        found: dict[int, list[torch.Tensor]] = {FIRST: [], SECOND: [], BOTH: []}
        for leaf, sides in self.parameters.values():
            found[sides].append(leaf)
        return found

    def _made_from(self, origins: Iterable[Node]) -> frozenset[Node]:
        stack, found = list(origins), set[Node]()
        while stack:
            for consumer, *_ in self.consumers.get(stack.pop(), ()):
                if consumer not in found:
                    found.add(consumer)
                    stack.append(consumer)
        return frozenset(found)

    def starts_at_fork(self, side: int) -> bool:
        """Whether operand `side` is the fork itself."""
        return self.operands[0 if side == FIRST else 1] == self.fork

    def parameters_short_of(self, ends: set[Node]) -> set[torch.Tensor]:
        """Return the leaves above the fork that can be reached without passing one of the nodes `ends`."""
        stack = [port.node for port in self.operands]
        seen = set(stack)
        found: set[torch.Tensor] = set()
        while stack:
            node = stack.pop()
            if node in ends or node not in self.reached:
                continue
            for origin, _ in node.next_functions:
                if origin is not None and origin not in seen:
                    seen.add(origin)
                    if is_leaf(origin):
                        found.add(leaf_of(origin))
                    else:
                        stack.append(origin)
        return found

    def nodes_of(self, side: int) -> list[Node]:
        """Return the nodes that only operand `side` passes (for `BOTH`: that both pass).

        What a weight is computed with from parameters alone is not on the way of any value.
        """
        return self._paths[side]

    def parameters_of(self, side: int) -> list[torch.Tensor]:
        """Return the leaves that only operand `side` reaches (for `BOTH`: that both reach)."""
        return self._parameters[side]

    def edges_of(self, side: int) -> list[Edge]:
        """Return the edges into the fork that only operand `side` uses."""
        return [edge for edge, sides in self.edges.items() if sides == side]


def find_fork(first: Port, second: Port, *, visits: float = math.inf) -> Walk:
    """Walk from both operands of an addition to the nearest node that all paths of one of them share.

    Paths that end at a leaf (a parameter) do not count. The walk costs one visit for each
    node between the addition and the fork.

    Args:
        first: where the first operand comes from.
        second: where the second operand comes from.
        visits: after how many nodes the walk is given up.

    Returns:
        the walk; its `fork` is None if the operands have no common origin.
    """
    chain = _chain_beside(first, second, visits)
    if chain is not None:
        return chain
    walk = Walk(operands=(first, second))
    reached, parameters, consumers = walk.reached, walk.parameters, walk.consumers
    sides: dict[Node, int] = {}
    waiting = [0, 0, 0, 0]  # how many nodes of the frontier were reached from which operands
    frontier: list[tuple[int, int, Node]] = []

    def reach(node: Node, side: int) -> None:
        before = sides.get(node)
        if before is None:
            consumers[node] = []
            heapq.heappush(frontier, (-order(node), len(sides), node))
        elif before | side == before:
            return
        else:
            waiting[before] -= 1
            side |= before
        sides[node] = side
        waiting[side] += 1

    reach(first.node, FIRST)
    reach(second.node, SECOND)
    limit = -1
    while frontier and -frontier[0][0] > limit and len(reached) < visits:
        node = heapq.heappop(frontier)[2]
        side = sides[node]
        waiting[side] -= 1
        one_sided = not waiting[BOTH] and not (waiting[FIRST] and waiting[SECOND])
        if side == BOTH and one_sided:
            outputs = {port.output for port in (first, second) if port.node is node}
            outputs.update(output for _, _, _, output in consumers[node])
            walk.fork = Port(node, min(outputs))
            walk.mixed_outputs = len(outputs) > 1
            walk.edges = {Edge(consumer, index): reader for consumer, index, reader, _ in consumers[node]}
            limit = order(_before_casts(node))
            continue
        if walk.fork is None and one_sided and not waiting[BOTH ^ side]:
            break  # only one operand has paths left
        reached[node] = side
        is_value = False
        for index, (origin, output) in enumerate(node.next_functions):
            if origin is None:
                continue
            if origin not in sides:
                made_of = origin if origin.name() != _CAST else _before_casts(origin)
                if is_leaf(made_of):
                    leaf = leaf_of(made_of)
                    before = parameters.get(id(leaf))
                    parameters[id(leaf)] = leaf, side if before is None else side | before[1]
                    continue
            is_value = True
            reach(origin, side)
            consumers[origin].append((node, index, side, output))
        walk.values_alone = walk.values_alone and is_value
    if walk.fork is not None:
        walk.side_inputs = frozenset(node for _, _, node in frontier)
        walk.reads_beside = FIRST if waiting[FIRST] else SECOND if waiting[SECOND] else 0
    return walk


def _chain_beside(first: Port, second: Port, visits: float) -> Walk | None:
    """Walk from the later operand to the other, if that is all it is made of, one operation after another.

    So it is in most residual units of most networks, and in the middle of a pass every step counts.

    Returns:
        what `find_fork` would; None if that has to look closer.
    """
    side = SECOND if order(second.node) > order(first.node) else FIRST
    fork, end = (first, second) if side == SECOND else (second, first)
    start, node = fork.node, end.node
    limit = order(start)
    reached: dict[Node, int] = {}
    parameters: dict[int, tuple[torch.Tensor, int]] = {}
    while order(node) > limit and len(reached) + 1 < visits:  # the fork is visited, too
        reached[node] = side
        made_of: Node | None = None
        output = at = 0
        for index, (origin, number) in enumerate(node.next_functions):
            if origin is None:
                continue
            if is_leaf(origin):
                leaf = leaf_of(origin)
                parameters[id(leaf)] = leaf, side
            elif made_of is None:
                made_of, output, at = origin, number, index
            else:
                return None
        if made_of is None:
            return None
        if made_of is start:
            if output != fork.output:
                return None
            edges = {Edge(node, at): side}
            return Walk(fork, reached, parameters, edges, operands=(first, second))
        node = made_of
    return None


def _before_casts(node: Node) -> Node:
    """Return the node that made the value of `node`, whatever type it was given later.

    A cast that changes nothing in one precision leaves a node in another, and nothing that is decided
    may depend on that: a parameter is one, and what the branch reads beside x_l as old as it was.
    """
    while node.name() == _CAST and node.next_functions[0][0] is not None:
        node = node.next_functions[0][0]
    return node
