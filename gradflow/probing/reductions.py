"""Sums of squares and inner products of large tensors, sample by sample.

Everything that a probe measures of a tensor is one of these numbers, so they have to be
right to 1e-6 in float32 and cheap beside the pass that is measured. A plain float32
`vector_norm` over millions of elements is off by 1e-5, and one in float64 copies the
tensor first. So squares are summed in float32 over short blocks, and the blocks in
float64.

What costs time is fetching tensors from memory, so what is wanted of two tensors that stand
beside each other is had of one reading of them (`Pair`, by `gradflow.probing.kernels`).

Values whose squares leave the range of float32, or that are not finite, are found by
their sum and measured again in float64, with the non-finite elements counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.kernels import add_and_sum, sum_products

_BLOCK = 256
_SHORTEST_BLOCK = 64
"""Shorter blocks are not worth their number; torch.sum adds pairwise and is as good."""

_SMALLEST_MEAN_SQUARE = 1e-30
"""Below this, squares of float32 numbers lose digits to gradual underflow (from 1.2e-38)."""


_NONE = torch.zeros((), dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Squares:
    """‖·‖² of one tensor: `per_sample` of shape (batch,) in float64, and the non-finite elements."""

    per_sample: Tensor
    nonfinite: Tensor

    @cached_property
    def total(self) -> Tensor:
        """The squared Frobenius norm of the whole batch, a float64 scalar."""
        return self.per_sample.sum()


@dataclass(frozen=True, eq=False)
class Pair:
    """What was measured of two tensors a and b together.

    Attributes:
        first: of a.
        second: of b.
        total: of a + b; None if it was not asked for and not had for nothing.
        inner: ⟨a, b⟩, shape (batch,).
    """

    first: Squares
    second: Squares
    total: Squares | None
    inner: Tensor


class Reducer:
    """Reduces tensors of one batch, with scratch memory that is reused.

    Args:
        batch: samples in the batch. A tensor whose first dimension is another one (a
            sequence first) is reduced as if it were one sample.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._scratch: Tensor | None = None

    def squares(self, value: Tensor) -> Squares:
        """Return ‖value‖² for each sample."""
        rows = self._rows(value)
        # On other devices every look at a value would wait for it, so all is done in float64.
        if not _is_quick(rows):
            return _wide_squares(rows)
        quick = _sum_of_squares(rows)
        least = _SMALLEST_MEAN_SQUARE * rows.shape[1]
        if len(quick) and quick.min() > least and quick.max() < math.inf:  # neither is true of a NaN
            return Squares(torch.from_numpy(quick), _NONE)
        doubtful = np.flatnonzero(~((quick > least) & (quick < math.inf)))
        again = _wide_squares(rows[torch.from_numpy(doubtful)])
        quick[doubtful] = again.per_sample.numpy()
        return Squares(torch.from_numpy(quick), again.nonfinite)

    def pair(self, first: Tensor, second: Tensor) -> Pair:
        """Measure two tensors of one shape, and their sum if that costs nothing."""
        rows, others = self._rows(first), self._rows(second, first)
        if _is_quick(rows) and others.dtype == rows.dtype:
            sums = np.empty((4, len(rows)))
            sum_products(rows.numpy(), others.numpy(), sums)
            if _in_range(sums, rows.shape[1]):
                return _pair_of(sums)
        return self._one_by_one(first, second)

    def add(
        self, first: Tensor, second: Tensor, reference: Tensor | None
    ) -> tuple[Tensor, Pair, Tensor | None]:
        """Add two tensors and measure them and their sum.

        Args:
            first: a.
            second: b, of its shape and dtype.
            reference: r, another of that shape, or None.

        Returns:
            a + b, as torch adds them; what was measured; and ⟨b, r⟩, shape (batch,).
        """
        beside = second if reference is None else reference
        alike = first.stride() == second.stride() == beside.stride() and first.dtype == second.dtype
        if alike and _is_quick(first) and _is_dense(first.shape, first.stride()):
            total = torch.empty_like(first)
            a, b, r, t = (self._rows(value).numpy() for value in (first, second, beside, total))
            sums = np.empty((5, len(a)))
            add_and_sum(a, b, r, t, sums)
            if _in_range(sums, a.shape[1]):
                return total, _pair_of(sums), None if reference is None else torch.from_numpy(sums[4])
            pair = self._one_by_one(first, second)
        else:
            total, pair = first + second, self.pair(first, second)
        with_reference = None if reference is None else self.inner(second, reference)
        return total, replace(pair, total=self.squares(total)), with_reference

    def _one_by_one(self, first: Tensor, second: Tensor) -> Pair:
        """Measure two tensors whose sums cannot be had of one reading."""
        sizes = self.squares(first), self.squares(second)
        return Pair(*sizes, None, self.inner(first, second, sizes))

    def inner(self, first: Tensor, second: Tensor, sizes: tuple[Squares, Squares] | None = None) -> Tensor:
        """Return ⟨first, second⟩ for each sample, shape (batch,), float64.

        Args:
            first: a tensor.
            second: another of its shape.
            sizes: what `squares` says of the two, if that is known: it tells whether products
                leave the range of the dtype.
        """
        rows, others = self._rows(first), self._rows(second, first)
        if not (_is_quick(rows) and _is_quick(others)):
            return (rows.double() * others.double()).sum(1)
        product = torch.mul(rows, others, out=self._buffer(rows)).sum(1).double()
        one, other = sizes or (self.squares(first), self.squares(second))
        with np.errstate(invalid="ignore"):  # zero by infinity, which is doubtful
            size = np.sqrt(one.per_sample.numpy() * other.per_sample.numpy())
        doubtful = ~((size > _SMALLEST_MEAN_SQUARE * rows.shape[1]) & np.isfinite(product.numpy()))
        if doubtful.any():
            again = torch.from_numpy(doubtful)
            product[again] = (rows[again].double() * others[again].double()).sum(1)
        return product

    def _rows(self, value: Tensor, like: Tensor | None = None) -> Tensor:
        """Return `value` as (samples, elements), in the order in which `like` lies in memory.

        A view of a dense tensor, a copy of another. Where a tensor lies unlike the one that it
        is to be multiplied with, that is seen here and nowhere else.
        """
        shape, strides = value.shape, value.stride()
        samples = self.batch if shape and shape[0] == self.batch else 1
        if (like is None or like.stride() == strides) and _is_dense(shape, strides):
            size = value.numel() // samples
            return value.as_strided((samples, size), (size, 1))
        like = value if like is None else like
        return value.permute(_memory_order(like.shape, like.stride())).reshape(samples, -1).contiguous()

    def _buffer(self, like: Tensor) -> Tensor:
        """Return scratch memory of the shape of `like`, the same memory at every call."""
        if self._scratch is None or self._scratch.numel() < like.numel() or self._scratch.dtype != like.dtype:
            self._scratch = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return self._scratch[: like.numel()].view(like.shape)


def _pair_of(sums: NDArray[np.float64]) -> Pair:
    """Return what the rows of `sums` say: ‖a‖², ‖b‖², ‖a + b‖² and ⟨a, b⟩."""
    aa, bb, tt, ab = (torch.from_numpy(row) for row in sums[:4])
    return Pair(Squares(aa, _NONE), Squares(bb, _NONE), Squares(tt, _NONE), ab)


def _in_range(sums: NDArray[np.float64], length: int) -> bool:
    """Whether three rows of sums of squares are neither spoilt by underflow nor by overflow or NaN.

    Inner products are no larger than what they are products of.
    """
    squares = sums[:3]
    return bool(squares.min() > _SMALLEST_MEAN_SQUARE * length and squares.max() < math.inf)


def _wide_squares(rows: Tensor) -> Squares:
    wide = rows.double()
    return Squares(wide.square().sum(1), (~wide.isfinite()).sum())


def on_host(value: Tensor) -> bool:
    """Whether a number made of `value` may be looked at without waiting for a device."""
    return value.device.type == "cpu"


def _is_quick(value: Tensor) -> bool:
    """Whether sums in the tensor's own dtype will do, and may be looked at as soon as they are there."""
    return on_host(value) and value.dtype in (torch.float32, torch.float64)


@lru_cache(maxsize=256)
def _memory_order(shape: torch.Size, strides: tuple[int, ...]) -> list[int]:
    """Return the dimensions, the samples' first and then from the largest stride to the smallest."""
    inner = sorted(range(1, len(shape)), key=lambda dimension: -strides[dimension])
    return [0, *inner] if shape else []


@lru_cache(maxsize=256)
def _is_dense(shape: torch.Size, strides: tuple[int, ...]) -> bool:
    """Whether the elements lie in memory without gaps or overlaps, sample after sample."""
    expected = 1
    for dimension in reversed(_memory_order(shape, strides)):
        if strides[dimension] != expected and shape[dimension] != 1:
            return False
        expected *= shape[dimension]
    return expected > 0


def _sum_of_squares(rows: Tensor) -> NDArray[np.float64]:
    """Return the sum of squares of each row, blocks of which are summed in the rows' own dtype."""
    samples, length = rows.shape
    block = math.gcd(length, _BLOCK)
    if block < _SHORTEST_BLOCK:
        return np.asarray(rows.square().sum(1).double().numpy())
    norms = torch.linalg.vector_norm(rows.view(-1, block), dim=1).numpy()
    sums: NDArray[np.float64] = np.square(norms, dtype=np.float64).reshape(samples, -1).sum(1)
    return sums
