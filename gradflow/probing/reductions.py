"""Sums of squares and inner products of large tensors, sample by sample.

Everything that a probe measures of a tensor is one of these numbers, so they have to be
right to 1e-6 in float32 and cheap beside the pass that is measured. A plain float32
`vector_norm` over millions of elements is off by 1e-5, and one in float64 copies the
tensor first. So squares are summed in float32 over short blocks, and the blocks in
float64.

What costs time is fetching tensors from memory, so what is wanted of two tensors that stand
beside each other is had of one reading of them, by `gradflow.probing.kernels`.

Values whose squares leave the range of float32, or that are not finite, are found by
their sum and measured again in float64, with the non-finite elements counted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.kernels import (
    BLOCK,
    SMALLEST_MEAN_SQUARE,
    Array,
    Counts,
    Sums,
    add_and_sum,
    sum_products,
)
from gradflow.probing.pairs import NONE_NONFINITE, Measured, Pair, Squares, SummedPair

_SHORTEST_BLOCK = 64
"""Shorter blocks are not worth their number; torch.sum adds pairwise and is as good."""

_QUICK = (torch.float32, torch.float64)
"""Types in which sums over a block are right."""


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
        least = SMALLEST_MEAN_SQUARE * rows.shape[1]
        if len(quick) and quick.min() > least and quick.max() < math.inf:  # neither is true of a NaN
            return Squares(torch.from_numpy(quick), NONE_NONFINITE)
        doubtful = np.flatnonzero(~((quick > least) & (quick < math.inf)))
        again = _wide_squares(rows[torch.from_numpy(doubtful)])
        quick[doubtful] = again.per_sample.numpy()
        return Squares(torch.from_numpy(quick), again.nonfinite)

    def pair(self, first: Tensor, second: Tensor) -> Measured:
        """Measure two tensors of one shape, and their sum if that costs nothing."""
        arrays = self._arrays(first, second)
        if arrays is None:
            rows, others = self._rows(first), self._rows(second, first)
            if not (_is_quick(rows) and others.dtype == rows.dtype):
                sizes = self.squares(first), self.squares(second)
                return Pair(*sizes, None, self.inner(first, second, sizes))
            arrays = [rows.numpy(), others.numpy()]
        sums, nonfinite = _zeros(len(arrays[0]))
        spoilt = sum_products(*arrays, sums, nonfinite)
        return SummedPair(sums, nonfinite if spoilt else None)

    def add(
        self, first: Tensor, second: Tensor, reference: Tensor | None, *, in_place: bool = False
    ) -> tuple[Tensor, Measured]:
        """Add two tensors and measure them and their sum.

        Args:
            first: a.
            second: b, of its shape and dtype.
            reference: r, another of that shape, or None.
            in_place: whether the sum may take the place of b.

        Returns:
            a + b, as torch adds them, and what was measured.
        """
        beside = second if reference is None else reference
        arrays = self._arrays(first, second, beside)
        if arrays is None:
            pair = self.pair(first, second).read()
            with_reference = None if reference is None else self.inner(second, reference)
            total = second.add_(first) if in_place and first.dtype == second.dtype else first + second
            return total, replace(pair, total=self.squares(total), with_reference=with_reference)
        a, b, r = arrays
        total, t = second, b
        if not in_place:
            total = torch.empty_like(second)
            made = self._arrays(total)
            assert made is not None, "it lies in memory as the second does"
            (t,) = made
        sums, nonfinite = _zeros(len(a))
        spoilt = add_and_sum(a, b, r, t, sums, nonfinite, in_place)
        return total, SummedPair(sums, nonfinite if spoilt else None)

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
        doubtful = ~((size > SMALLEST_MEAN_SQUARE * rows.shape[1]) & np.isfinite(product.numpy()))
        if doubtful.any():
            again = torch.from_numpy(doubtful)
            product[again] = (rows[again].double() * others[again].double()).sum(1)
        return product

    def _arrays(self, *values: Tensor) -> list[Array] | None:
        """Return tensors as arrays (samples, elements) over the same memory, if kernels can read them.

        They can if all lie in memory alike, without gaps, on the host.
        """
        first = values[0]
        strides, dtype = first.stride(), first.dtype
        for value in values[1:]:
            if value.stride() != strides or value.dtype != dtype:
                return None
        if not (_is_quick(first) and _is_dense(first.shape, strides)):
            return None
        samples, size = self._size(first)
        order = _memory_order(first.shape, strides)
        return [value.numpy().transpose(order).reshape(samples, size) for value in values]

    def _rows(self, value: Tensor, like: Tensor | None = None) -> Tensor:
        """Return `value` as (samples, elements), in the order in which `like` lies in memory.

        A view of a dense tensor, a copy of another. Where a tensor lies unlike the one that it
        is to be multiplied with, that is seen here and nowhere else.
        """
        samples, size = self._size(value)
        if (like is None or like.stride() == value.stride()) and _is_dense(value.shape, value.stride()):
            return value.as_strided((samples, size), (size, 1))
        like = value if like is None else like
        return value.permute(_memory_order(like.shape, like.stride())).reshape(samples, -1).contiguous()

    def _size(self, value: Tensor) -> tuple[int, int]:
        """Return samples and elements of each."""
        samples = self.batch if value.ndim and len(value) == self.batch else 1
        return samples, value.numel() // samples

    def _buffer(self, like: Tensor) -> Tensor:
        """Return scratch memory of the shape of `like`, the same memory at every call."""
        if self._scratch is None or self._scratch.numel() < like.numel() or self._scratch.dtype != like.dtype:
            self._scratch = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return self._scratch[: like.numel()].view(like.shape)


def _zeros(samples: int) -> tuple[Sums, Counts]:
    """Return where a kernel adds up what it finds."""
    return np.zeros((samples, 5)), np.zeros((samples, 3), dtype=np.int64)


def _wide_squares(rows: Tensor) -> Squares:
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    # x − x is 0 where x is finite: half the readings and writings that asking for that takes.
    return Squares(norms.square(), torch.count_nonzero(rows - rows))


def _is_quick(value: Tensor) -> bool:
    """Whether sums in the tensor's own dtype will do, and may be looked at as soon as they are there."""
    return value.is_cpu and value.dtype in _QUICK


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
    block = math.gcd(length, BLOCK)
    if block < _SHORTEST_BLOCK:
        return np.asarray(rows.square().sum(1).double().numpy())
    norms = torch.linalg.vector_norm(rows.view(-1, block), dim=1).numpy()
    sums: NDArray[np.float64] = np.square(norms, dtype=np.float64).reshape(samples, -1).sum(1)
    return sums
