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

On the host no measurement of a dense float32 or float64 tensor takes memory beside the few numbers that it
finds, and those have their place before the pass begins (`gradflow.probing.tally`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from gradflow.probing.addresses import READABLE
from gradflow.probing.kernels import Shape, add_and_sum, sum_products, sum_squares
from gradflow.probing.pairs import Measured, MeasuredSquares, Pair, Squares, SummedPair, SummedSquares
from gradflow.probing.tally import OF_ONE, OF_TWO, Rows, Tally, new_rows

_LONG = 2**16
"""Elements of a single sample from which on threads are to share them."""

_PIECES = 16
"""Into so many pieces at most it is cut, whatever the threads: the sum is the same to the bit."""


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
        shape = self._shape(first, second)
        if shape is None:
            first, second = self._rows(first), self._rows(second, first)
            shape = self._shape(first, second)
        if shape is None:
            return Pair(self.squares(first), self.squares(second), None, self.inner(first, second))
        rows = self._of_two.take(shape[0])
        spoilt = sum_products(first.data_ptr(), second.data_ptr(), shape, READABLE[first.dtype], *rows.place)
        return SummedPair(rows, spoilt=spoilt > 0)

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
        shape = self._shape(first, second, beside)
        if shape is None:
            pair = self.pair(first, second).read()
            with_reference = None if reference is None else self.inner(second, reference)
            total = second.add_(first) if in_place and first.dtype == second.dtype else first + second
            return total, replace(pair, total=self.squares(total), with_reference=with_reference)
        total = second if in_place else torch.empty_like(second)
        assert in_place or total.stride() == second.stride(), "it lies in memory as the second does"
        rows = self._of_two.take(shape[0])
        at = first.data_ptr(), second.data_ptr(), beside.data_ptr(), total.data_ptr()
        spoilt = add_and_sum(*at, shape, READABLE[first.dtype], *rows.place, in_place)
        return total, SummedPair(rows, spoilt=spoilt > 0)

    def inner(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ⟨first, second⟩ for each sample, shape (batch,), float64.

        Args:
            first: a tensor.
            second: another of its shape.
        """
        rows, others = self._rows(first), self._rows(second, first)
        shape = self._shape(rows, others)
        if shape is None:
            return (rows.double() * others.double()).sum(1)
        found = new_rows(shape[0], OF_TWO)
        sum_products(rows.data_ptr(), others.data_ptr(), shape, READABLE[rows.dtype], *found.place)
        return SummedPair(found, spoilt=False).read().inner

    def _squares(self, value: Tensor, take: Callable[[int], Rows]) -> Squares | SummedSquares:
        """Measure ‖value‖² for each sample; `take` hands out rows for the sums."""
        shape = self._shape(value)
        if shape is None:
            value = self._rows(value)
            shape = self._shape(value)
        # On other devices every look at a value would wait for it, so all is done in float64.
        if shape is None:
            return _wide_squares(value)
        samples, length = shape
        pieces = math.gcd(length, _PIECES) if samples == 1 and length > _LONG else 1
        rows = take(samples * pieces)
        cut = samples * pieces, length // pieces
        spoilt = sum_squares(value.data_ptr(), cut, READABLE[value.dtype], *rows.place)
        return SummedSquares(rows, samples, spoilt=spoilt > 0)

    def _shape(self, *values: Tensor) -> Shape | None:
        """Return as what arrays (samples, elements) kernels can read tensors; None if they cannot.

        They can if all lie in memory alike, without gaps, on the host. Of a class that is derived from
        torch's nobody knows where its numbers are.
        """
        first = values[0]
        shape, strides, dtype = first.shape, first.stride(), first.dtype
        for value in values:
            if type(value) is not Tensor or not value.is_cpu or value.is_neg() or not value.data_ptr():
                return None
            alike = value is first or (value.shape == shape and value.stride() == strides)
            if not alike or value.dtype is not dtype:
                return None
        return self._size(first) if dtype in READABLE and _is_dense(shape, strides) else None

    def _rows(self, value: Tensor, like: Tensor | None = None) -> Tensor:
        """Return `value` as (samples, elements), in the order in which `like` lies in memory.

        A view of a dense tensor, a copy of another; complex numbers are two elements each. Where a tensor
        lies unlike the one that it is to be multiplied with, that is seen here and nowhere else.
        """
        value = value.detach()
        if value.is_complex():
            value, like = _as_real(value), None if like is None else _as_real(like)
        samples, size = self._size(value)
        if (like is None or like.stride() == value.stride()) and _is_dense(value.shape, value.stride()):
            return value.as_strided((samples, size), (size, 1))
        like = value if like is None else like
        return value.permute(_memory_order(like.shape, like.stride())).reshape(samples, -1).contiguous()

    def _size(self, value: Tensor) -> tuple[int, int]:
        """Return samples and elements of each."""
        shape = value.shape
        samples = self.batch if shape and shape[0] == self.batch else 1
        return samples, value.numel() // samples


def _as_real(value: Tensor) -> Tensor:
    return torch.view_as_real(value.resolve_conj())


def _wide_squares(rows: Tensor) -> Squares:
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    # x − x is 0 where x is finite: half the readings and writings that asking for that takes.
    return Squares(norms.square(), torch.count_nonzero(rows - rows))


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
