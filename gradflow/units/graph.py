"""Places in the autograd graph, and walks on it.

The graph's nodes point from a result to what it was made from, so a walk goes against the data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch.autograd.graph import Node

Kind = tuple[torch.Size, torch.dtype]
"""Shape and type of a value, and so of its gradient."""


class Port(NamedTuple):
    """One output of an autograd node: a value of the forward pass, a gradient of the backward pass."""

    node: Node
    output: int

    @property
    def shape(self) -> torch.Size:
        """Shape of the value, which autograd keeps beside the node."""
        return self.kind[0]

    @property
    def kind(self) -> Kind:
        """Shape and type of the value."""
        metadata = self.node._input_metadata[self.output]  # noqa: SLF001 - documented on Node
        return torch.Size(metadata.shape), metadata.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Port | None:
        """Return where `tensor` comes from, or None for a tensor without history."""
        node = tensor.grad_fn
        return None if node is None else cls(node, tensor.output_nr)


class Edge(NamedTuple):
    """Operand number `operand` of node `consumer`: along it one part of a gradient flows."""

    consumer: Node
    operand: int


def order(node: Node) -> int:
    """Return a number that grows in the order of the forward pass."""
    return node._sequence_nr()  # noqa: SLF001 - torch.autograd.graph.Node documents it, and has no other


def is_leaf(node: Node) -> bool:
    """Whether `node` stands for a leaf tensor, which is where a parameter's gradient ends."""
    return hasattr(node, "variable")


def leaf_of(node: Node) -> torch.Tensor:
    """Return the leaf tensor that `node`, an AccumulateGrad, stands for."""
    leaf: torch.Tensor = node.variable  # type: ignore[attr-defined] # only this kind of node has it
    return leaf


def between(start: Port, end: Port) -> tuple[list[Node], list[Edge]]:
    """Return what lies on the paths from `start` to `end`.

    Args:
        start: a value of the forward pass.
        end: a later one.

    Returns:
        the nodes after `start` up to and with `end`, in the order of the forward pass, and the
        edges by which they use `start`. No edge means that `end` does not depend on `start`,
        or is the same.
    """
    if start.node is end.node:
        return [], []
    limit = order(start.node)
    edges: list[Edge] = []
    stack, seen = [end.node], {end.node}
    while stack:
        node = stack.pop()
        for index, (origin, output) in enumerate(node.next_functions):
            if origin is start.node:
                if output == start.output:
                    edges.append(Edge(node, index))
            elif origin is not None and origin not in seen and not is_leaf(origin) and order(origin) > limit:
                seen.add(origin)
                stack.append(origin)
    return sorted(seen, key=order), edges


def depends_on(end: Port, start: Node) -> bool:
    """Whether the value at `end` was made from one of node `start`, an earlier one."""
    limit = order(start)
    stack, seen = [end.node], {end.node}
    while stack:
        node = stack.pop()
        if node is start:
            return True
        for origin, _ in node.next_functions:
            if origin is not None and origin not in seen and not is_leaf(origin) and order(origin) >= limit:
                seen.add(origin)
                stack.append(origin)
    return False


def edges_into(root: Node, targets: Iterable[Node]) -> dict[Node, dict[Edge, int]]:
    """Return, for each target, all edges into it below `root` and the output each one ends at.

    Args:
        root: the loss's node, from which the backward pass starts.
        targets: nodes whose consumers are asked for.
    """
    found: dict[Node, dict[Edge, int]] = {target: {} for target in targets}
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        for index, (origin, output) in enumerate(node.next_functions):
            if origin is None:
                continue
            if origin in found:
                found[origin][Edge(node, index)] = output
            if origin not in seen and not is_leaf(origin):
                seen.add(origin)
                stack.append(origin)
    return found
