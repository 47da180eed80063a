"""Where something besides f reads a unit's y_l, so that ∂E/∂y_l is more than f hands back."""

from __future__ import annotations

from collections.abc import Sequence

from torch.autograd.graph import Node

from gradflow.units.graph import between, edges_into
from gradflow.units.tracing import TracedUnit


def tapped_before_activation(units: Sequence[TracedUnit], root: Node) -> set[int]:
    """Return the units of which something besides f, on which the loss depends, reads y_l.

    This is told from the graph alone, so that a wrong backward of f is not taken for one. What is read within
    f counts, and what reads x_{l+1} does not: that is at the next unit's fork. Where f does nothing at
    all, y_l is x_{l+1}.

    Args:
        units: of one forward pass.
        root: the loss's node.
    """
    activations = {unit.index: between(unit.total, unit.out)[0] for unit in units if unit.out != unit.total}
    of_f = {node for nodes in activations.values() for node in nodes}
    into = edges_into(root, of_f | {units[index].total.node for index in activations})
    found = set()
    for index, nodes in activations.items():
        unit, inside = units[index], set(nodes)
        edges = [edge for edge, output in into[unit.total.node].items() if output == unit.total.output]
        edges += [edge for node in inside - {unit.out.node} for edge in into[node]]
        if any(edge.consumer not in inside for edge in edges):
            found.add(index)
    return found
