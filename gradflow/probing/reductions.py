"""Sums of squares and inner products of large tensors, sample by sample.

Everything that a probe measures of a tensor is one of these numbers, so they have to be
right to 1e-6 in float32 and cheap beside the pass that is measured. A plain float32
`vector_norm` over millions of elements is off by 1e-5, and one in float64 copies the
tensor first. So squares are summed in float32 over short blocks, and the blocks in
float64; products are summed by `torch.sum`, which adds pairwise.

Values whose squares leave the range of float32, or that are not finite, are found by
their sum and measured again in float64, with the non-finite elements counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 1024
_CACHED_ELEMENTS = 512 * 1024
"""Products that are summed at a time: 2 MB in float32, a share of a common last-level cache."""

_SMALLEST_MEAN_SQUARE = 1e-30
"""Below this, squares of float32 numbers lose digits to gradual underflow (from 1.2e-38)."""


@dataclass(frozen=True, eq=False)
class Squares:
    """‖·‖² of one tensor: `per_sample` of shape (batch,) in float64, and the non-finite elements."""

    per_sample: Tensor
    nonfinite: Tensor

    @property
    def total(self) -> Tensor:
        """The squared Frobenius norm of the whole batch, a float64 scalar."""
        return self.per_sample.sum()


class Reducer:
    """Reduces tensors of one batch, with scratch memory that is reused.

    Args:
        batch: samples in the batch. A tensor whose first dimension is another one (a
            sequence first) is reduced as if it were one sample.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._scratch: Tensor | None = None
        self._spare: list[Tensor] = []

    @torch.no_grad()
    def squares(self, value: Tensor) -> Squares:
        """Return ‖value‖² for each sample."""
        rows = self._rows(value)
        if value.device.type == "cpu" and value.dtype in (torch.float32, torch.float64):
            per_sample = _sum_of_squares(rows)
            total = float(per_sample.sum())
            trusted = _SMALLEST_MEAN_SQUARE * value.numel() < total < math.inf
            if trusted or (total == 0.0 and not rows.any()):
                return Squares(per_sample, torch.zeros((), dtype=torch.int64))
        # Elsewhere every look at a value would wait for the device, so all is done in float64.
        wide = rows.double()
        return Squares(wide.square().sum(1), (~wide.isfinite()).sum())

    @torch.no_grad()
    def inner(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ⟨first, second⟩ for each sample, shape (batch,), float64."""
        rows, others = self._row_pair(first, second)
        if first.device.type != "cpu" or first.dtype not in (torch.float32, torch.float64):
            return (rows.double() * others.double()).sum(1)
        pieces = [
            torch.mul(a, b, out=self._buffer(a)).sum(1)
            for a, b in zip(self._pieces(rows), self._pieces(others), strict=True)
        ]
        product = torch.cat(pieces).double() if len(pieces) > 1 else pieces[0].double()
        if not math.isfinite(float(product.sum())):
            return (rows.double() * others.double()).sum(1)
        return product

    @torch.no_grad()
    def sum_of(self, parts: list[Tensor]) -> Tensor:
        """Return Σ parts, in memory that `difference` gives back."""
        like = parts[0]
        spare = self._spare.pop() if self._spare else None
        if spare is None or spare.numel() < like.numel() or spare.dtype != like.dtype:
            spare = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        total = _laid_out_as(like, spare)
        if len(parts) == 1:
            return total.copy_(like)
        torch.add(parts[0], parts[1], out=total)
        for part in parts[2:]:
            total.add_(part)
        return total

    @torch.no_grad()
    def difference(self, total: Tensor, other: Tensor) -> Tensor:
        """Return ‖total − other‖² over the whole batch, a float64 scalar; `total` is used up."""
        squares = self.squares(total.sub_(other)).total
        self._spare.append(total.as_strided((total.numel(),), (1,)))
        return squares

    def _rows(self, value: Tensor) -> Tensor:
        samples = self.batch if value.ndim and value.shape[0] == self.batch else 1
        return _dense(value).reshape(samples, -1)

    def _row_pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        order = _memory_order(first)
        samples = self.batch if first.ndim and first.shape[0] == self.batch else 1
        return first.permute(order).reshape(samples, -1), second.permute(order).reshape(samples, -1)

    def _pieces(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Split rows so that the products of one piece stay in the processor's cache."""
        samples = max(1, _CACHED_ELEMENTS // rows.shape[1])
        pieces: tuple[Tensor, ...] = torch.split(rows, samples)
        return pieces

    def _buffer(self, like: Tensor) -> Tensor:
        """Return scratch memory of the shape of `like`, the same memory at every call."""
        if self._scratch is None or self._scratch.numel() < like.numel() or self._scratch.dtype != like.dtype:
            self._scratch = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return self._scratch[: like.numel()].view(like.shape)


def _laid_out_as(like: Tensor, memory: Tensor) -> Tensor:
    """Return a view of flat `memory` with the shape of `like` and its order of dimensions."""
    order = _memory_order(like)
    shape = [like.shape[dimension] for dimension in order]
    back = sorted(range(like.ndim), key=order.__getitem__)
    return memory[: like.numel()].view(shape).permute(back)


def _memory_order(value: Tensor) -> list[int]:
    """Return the dimensions, the samples' first and then from the largest stride to the smallest."""
    strides = value.stride()
    inner = sorted(range(1, value.ndim), key=lambda dimension: -strides[dimension])
    return [0, *inner] if value.ndim else []


def _dense(value: Tensor) -> Tensor:
    """Return a view of `value` whose dimensions are in memory order, so that reshaping copies nothing."""
    return value.permute(_memory_order(value))


def _sum_of_squares(rows: Tensor) -> Tensor:
    if rows.dtype == torch.float64 or rows.shape[1] % 4:
        return rows.square().sum(1).double()
    block = math.gcd(rows.shape[1], _BLOCK)
    if block < 64:
        return rows.square().sum(1).double()
    norms: Tensor = torch.linalg.vector_norm(rows.reshape(-1, block), dim=1)
    return norms.double().square_().view(rows.shape[0], -1).sum(1)
