"""What enters the gradient of a weight: the contributions that are added up in it.

∂E/∂W = Σ_i δ_i ∂z_i/∂W, over the elements z_i of what is computed with W, with δ_i = ∂E/∂z_i. Where the
terms cancel, the sum is small and what rounding left in it is not: it is as large as the terms are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from gradflow.units.classification import operation
from gradflow.units.graph import is_leaf, leaf_of

_PROBES = 8
"""Draws of signs: a weight of one element has eight numbers to be judged by then."""


def contribution_norms(value: Tensor, weights: Sequence[Tensor], *, seed: int = 0) -> list[float]:
    """Return √(Σ_i ‖δ_i ∂z_i/∂W‖²) for each of `weights`.

    By Hutchinson's estimate: for independent random signs s_i the mean of ‖Σ_i s_i δ_i ∂z_i/∂W‖² is the
    sum of the squares. It takes one backward pass, and then products with the weights' own operations.

    Args:
        value: the loss, with its graph, which is kept.
        weights: leaves of the graph; one that is used several times has the contributions of all uses.
        seed: of the signs.

    Returns:
        a norm for each weight; 0 for one that the loss does not depend on.
    """
    uses = list(_uses(value, weights))
    arriving: dict[int, Tensor] = {}
    handles = [node.register_prehook(partial(_keep, arriving, index)) for index, (node, _) in enumerate(uses)]
    try:
        torch.autograd.grad(value, list(weights), retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    signs = torch.Generator().manual_seed(seed)
    squares = [0.0] * len(weights)
    for index, (node, at) in enumerate(uses):
        if index not in arriving:
            continue
        delta = arriving.pop(index)
        for _ in range(_PROBES):
            sign = torch.randint(0, 2, delta.shape, generator=signs).to(delta) * 2 - 1
            (part,) = torch.autograd.grad(
                [GradientEdge(node, 0)], [weights[at]], [delta * sign], retain_graph=True
            )
            squares[at] += float(part.double().square().sum()) / _PROBES
    return [square**0.5 for square in squares]


def _keep(arriving: dict[int, Tensor], index: int, gradients: tuple[Tensor | None, ...]) -> None:
    """Keep ∂E/∂z for a use of a weight, if any comes."""
    if gradients[0] is not None:
        arriving[index] = gradients[0]


def _uses(value: Tensor, weights: Sequence[Tensor]) -> Iterator[tuple[Node, int]]:
    """Yield each node that computes with one of `weights`, and which: a linear layer takes it transposed."""
    numbers = {id(weight): index for index, weight in enumerate(weights)}
    assert value.grad_fn is not None, "evaluate_loss refuses a loss without gradient"
    waiting, seen = [value.grad_fn], {value.grad_fn}
    while waiting:
        node = waiting.pop()
        for origin, _ in node.next_functions:
            if origin is None:
                continue
            leaf = origin
            while operation(leaf) == "T" and leaf.next_functions[0][0] is not None:
                leaf = leaf.next_functions[0][0]
            if is_leaf(leaf):
                at = numbers.get(id(leaf_of(leaf)))
                if at is not None:
                    yield node, at
            elif origin not in seen:
                seen.add(origin)
                waiting.append(origin)
