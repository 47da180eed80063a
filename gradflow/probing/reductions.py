"""Sums of squares and inner products of large tensors, sample by sample.

Everything that a probe measures of a tensor is one of these numbers, so they have to be
right to 1e-6 in float32 and cheap beside the pass that is measured. A plain float32
`vector_norm` over millions of elements is off by 1e-5, and one in float64 copies the
tensor first. So squares are summed in float32 over short blocks, and the blocks in
float64.

What costs time is fetching tensors from memory, so each is read once, and what is wanted of two that
stand beside each other is had of one reading of both, by `gradflow.probing.kernels`.

Values whose squares leave the range of float32, or that are not finite, are found by
their sum and measured again in float64, with the non-finite elements counted.

On the host no measurement takes memory beside the few numbers that it finds, and those have their
place before the pass begins (`gradflow.probing.tally`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from gradflow.probing.kernels import Array, add_and_sum, sum_products, sum_squares
from gradflow.probing.pairs import Measured, MeasuredSquares, Pair, Squares, SummedPair, SummedSquares
from gradflow.probing.tally import OF_ONE, OF_TWO, Rows, Tally, new_rows

_LONG = 2**16
"""Elements of a single sample from which on threads are to share them."""

_PIECES = 16
"""Into so many pieces at most it is cut, whatever the threads: the sum is the same to the bit."""

_QUICK = (torch.float32, torch.float64)
"""Types in which sums over a block are right."""


class Reducer:
    """Reduces tensors of one batch.

    Args:
        batch: samples in the batch. A tensor whose first dimension is another one (a
            sequence first) is reduced as if it were one sample.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._of_one, self._of_two = Tally(batch, OF_ONE), Tally(batch, OF_TWO)

    def squares(self, value: Tensor) -> Squares:
        """Return ‖value‖² for each sample."""
        return self._squares(value, partial(new_rows, columns=OF_ONE)).read()

    def sum_squares(self, value: Tensor) -> MeasuredSquares:
        """Measure ‖value‖² for each sample, to be read after the pass."""
        return self._squares(value, self._of_one.take)

    def pair(self, first: Tensor, second: Tensor) -> Measured:
        """Measure two tensors of one shape, and their sum if that costs nothing."""
        arrays = self._arrays(first, second)
        if arrays is None:
            rows, others = self._rows(first), self._rows(second, first)
            if not (_is_quick(rows) and others.dtype == rows.dtype):
                return Pair(self.squares(first), self.squares(second), None, self.inner(first, second))
            arrays = [rows.numpy(), others.numpy()]
        rows_of_two = self._of_two.take(len(arrays[0]))
        spoilt = sum_products(*arrays, rows_of_two.sums, rows_of_two.counts)
        return SummedPair(rows_of_two, spoilt=spoilt > 0)

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
        rows = self._of_two.take(len(a))
        spoilt = add_and_sum(a, b, r, t, rows.sums, rows.counts, in_place)
        return total, SummedPair(rows, spoilt=spoilt > 0)

    def inner(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ⟨first, second⟩ for each sample, shape (batch,), float64.

        Args:
            first: a tensor.
            second: another of its shape.
        """
        rows, others = self._rows(first), self._rows(second, first)
        if not (_is_quick(rows) and others.dtype == rows.dtype):
            return (rows.double() * others.double()).sum(1)
        found = new_rows(len(rows), OF_TWO)
        sum_products(rows.numpy(), others.numpy(), found.sums, found.counts)
        return SummedPair(found, spoilt=False).read().inner

    def _squares(self, value: Tensor, take: Callable[[int], Rows]) -> Squares | SummedSquares:
        """Measure ‖value‖² for each sample; `take` hands out rows for the sums."""
        # On other devices every look at a value would wait for it, so all is done in float64.
        if not _is_quick(value):
            return _wide_squares(self._rows(value))
        (array,) = self._arrays(value) or (self._rows(value).numpy(),)
        samples, length = array.shape
        pieces = math.gcd(length, _PIECES) if samples == 1 and length > _LONG else 1
        rows = take(samples * pieces)
        spoilt = sum_squares(array.reshape(samples * pieces, length // pieces), rows.sums, rows.counts)
        return SummedSquares(rows, samples, spoilt=spoilt > 0)

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
