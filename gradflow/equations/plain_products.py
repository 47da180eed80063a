"""The plain network's product, which the paper sets beside eq. 4: x_L = Π W_i x_l, and backward.

A plain network has no additions, so its units are the blocks that the user names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from gradflow.equations.held import held_block
from gradflow.equations.residuals import Residual
from gradflow.equations.spans import Chain, Span
from gradflow.equations.tensors import Tensors
from gradflow.equations.verdicts import Verdict, why_not_backward
from gradflow.probing.capture import Capture
from gradflow.tolerances import product_of_layers
from gradflow.units.runs import join_runs


def plain_chains(capture: Capture) -> list[Chain]:
    """Return the longest chains of blocks without shortcut; the first may change the shape."""
    kinds = [True if unit.split is None else None for unit in capture.units]
    return [
        Chain(run.first, run.last, run.stage, identity=False, post_activation="identity")
        for run, _ in join_runs(capture.units, kinds)
    ]


def plain_products(tensors: Tensors, chain: Chain, spans: Sequence[Span] | None) -> Iterator[Verdict]:
    """Yield the verdicts on `spans`, or on those from the chain's start and to its end."""
    if spans is None:
        forward = [(chain.first, end) for end in range(chain.first + 1, chain.end + 1)]
        backward = [(first, chain.end) for first in range(chain.end - 1, chain.first - 1, -1)]
    else:
        forward = backward = list(spans)
    for start in dict.fromkeys(first for first, _ in forward):
        yield from _weights(tensors, chain, start, [end for first, end in forward if first == start])
    for stop in dict.fromkeys(end for _, end in backward):
        yield from _jacobians(tensors, chain, stop, [first for first, end in backward if end == stop])


def _weights(tensors: Tensors, chain: Chain, start: int, ends: Sequence[int]) -> Iterator[Verdict]:
    capture = tensors.capture
    value = tensors.wide(capture.values.get(capture.units[start].fork))
    reason: str | None = None
    for index in range(start, max(ends)):
        held = held_block(capture.units[index], torch.float64)
        if held is None or not held.linear:
            reason = (
                "a block is more than its weights: BN and ReLU, which the paper leaves out of the product"
            )
            value = None
        elif value is not None:
            value = held(value)
        if index + 1 in ends:
            measured = tensors.wide(capture.values.get(capture.units[index].out))
            residual = None
            if value is not None and measured is not None:
                size = tensors.norms(measured)
                residual = Residual(tensors.norms(measured - value), size + tensors.norms(value), size)
            span = start, index + 1
            yield Verdict(
                "plain",
                "product",
                span,
                chain.stage,
                residual,
                product_of_layers(tensors.dtype, index + 1 - start, *tensors.layers(*span)),
                [] if reason is None else [reason],
                "it is not evaluated",
            )


def _jacobians(tensors: Tensors, chain: Chain, stop: int, starts: Sequence[int]) -> Iterator[Verdict]:
    capture = tensors.capture
    value = capture.gradients.get(capture.units[stop - 1].out)
    for index in range(stop - 1, min(starts) - 1, -1):
        unit = capture.units[index]
        if value is not None:
            value = capture.block_vjp(unit, value)
        if index in starts:
            whole = capture.gradients.get(unit.fork)
            residual, span = None, (index, stop)
            if value is not None and whole is not None:
                size = tensors.norms(whole.double())
                difference = tensors.norms(whole.double() - value.double())
                residual = Residual(difference, size + tensors.norms(value.double()), size)
            yield Verdict(
                "plain",
                "jacobians",
                span,
                chain.stage,
                residual,
                product_of_layers(tensors.dtype, stop - index, *tensors.layers(*span)),
                list(why_not_backward(capture, span)),
            )
