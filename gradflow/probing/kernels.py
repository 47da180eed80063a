"""Sums over tensors in one reading of them.

What a probe costs is fetching tensors from memory. PyTorch reduces one tensor at a time, and what
is wanted here of two of them takes it six readings and three writings; compiled by Numba, it is
one reading of each. The loops run on as many threads as Numba has, and let go of Python's lock.

A block is taken as a slice and read from its first element on: an index into a row might be negative for
all that the compiler knows, and it would then gather the elements one by one, at a tenth of the speed.

Products are summed in the dtype of the arrays over blocks of 256, so that an error grows with the
length of a block (vectorised, eight additions), and blocks are summed in float64. Where the squares of
a stretch of 16 blocks leave the range of float32, or are no numbers, that stretch is summed once more
in float64 while it is at hand, and its elements that are not finite are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, njit, prange  # type: ignore[attr-defined] # numba does not list carray
from numpy.typing import NDArray

from gradflow.probing.addresses import Number, pointer

Array = NDArray[Any]
Sums = NDArray[np.float64]
Counts = NDArray[np.int64]

BLOCK = 256
STRETCH = 16 * BLOCK

SMALLEST_MEAN_SQUARE = 1e-30
"""Below this, squares of float32 numbers lose digits to gradual underflow (from 1.2e-38)."""

# Sums may be made in any order, which is what lets them be vectorised. The rounding of one addition
# is the processor's: what `add_and_sum` adds has the bits of torch's own sum.
_FASTMATH = {"reassoc", "contract"}

Compiled = Callable[[Callable[..., Any]], Callable[..., Any]]
Shape = tuple[int, int]

_FOUND = "float64[:, ::1], int64[:, ::1], intp"
"""What a kernel writes to: sums, counts, and from which row on."""


def _compiled(arrays: int, *others: str) -> Compiled:
    """Compile a function of so many arrays' addresses, what it writes to, and `others`, when it is imported.

    A first call would otherwise take the compiler's time and memory, in the middle of somebody's pass.
    """
    signatures = [
        f"int64({', '.join([*arrays * ['intp'], 'UniTuple(intp, 2)', kind, _FOUND, *others])})"
        for kind in ("float32", "float64")
    ]
    compiled: Compiled = njit(signatures, parallel=True, nogil=True, cache=True, fastmath=_FASTMATH)
    return compiled


_inlined: Compiled = njit(nogil=True, cache=True, fastmath=_FASTMATH)


@_inlined
def _sum(first: Array, second: Array, reference: Array) -> tuple[float, float, float, float, float]:
    """Return ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ⟨b, r⟩ of one stretch."""
    zero = first.dtype.type(0)
    sum_aa, sum_bb, sum_tt, sum_ab, sum_br = 0.0, 0.0, 0.0, 0.0, 0.0
    for start in range(0, len(first), BLOCK):
        block_a, block_b = first[start : start + BLOCK], second[start : start + BLOCK]
        block_r = reference[start : start + BLOCK]
        aa, bb, tt, ab, br = zero, zero, zero, zero, zero
        for index in range(len(block_a)):
            a, b, r = block_a[index], block_b[index], block_r[index]
            t = a + b
            aa += a * a
            bb += b * b
            tt += t * t
            ab += a * b
            br += b * r
        sum_aa += aa
        sum_bb += bb
        sum_tt += tt
        sum_ab += ab
        sum_br += br
    return sum_aa, sum_bb, sum_tt, sum_ab, sum_br


@_inlined
def _is_in_range(sums: tuple[float, float, float, float, float], length: int) -> bool:
    """Whether no sum of squares was spoilt by underflow, overflow or NaN, of which each comparison is false.

    Inner products are no larger than what they are products of.
    """
    least = SMALLEST_MEAN_SQUARE * length
    return least < sums[0] < np.inf and least < sums[1] < np.inf and least < sums[2] < np.inf


@_inlined
def _sum_again(
    first: Array, second: Array, reference: Array, nonfinite: Counts
) -> tuple[float, float, float, float, float]:
    """Return the same sums, made in float64, and count the elements of a, b and a + b that are not finite."""
    aa, bb, tt, ab, br = 0.0, 0.0, 0.0, 0.0, 0.0
    for index in range(len(first)):
        total = first[index] + second[index]
        a, b, t, r = np.float64(first[index]), np.float64(second[index]), np.float64(total), reference[index]
        aa += a * a
        bb += b * b
        tt += t * t
        ab += a * b
        br += b * np.float64(r)
        nonfinite[0] += not np.isfinite(a)
        nonfinite[1] += not np.isfinite(b)
        nonfinite[2] += not np.isfinite(t)
    return aa, bb, tt, ab, br


@_inlined
def _sum_of_squares(values: Array) -> float:
    """Return the sum of squares of one stretch."""
    total = 0.0
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        squares = values.dtype.type(0)
        for index in range(len(block)):
            squares += block[index] * block[index]
        total += squares
    return total


@_inlined
def _sum_of_squares_again(values: Array, nonfinite: Counts) -> float:
    """Return the same sum, made in float64, and count the elements that are not finite."""
    total = 0.0
    for index in range(len(values)):
        value = np.float64(values[index])
        total += value * value
        nonfinite[0] += not np.isfinite(value)
    return total


@_compiled(1)
def sum_squares(values_at: int, shape: Shape, like: Number, sums: Sums, nonfinite: Counts, place: int) -> int:
    """Sum the squares of each row of an array.

    Args:
        values_at: its address; it is contiguous.
        shape: (rows, n).
        like: a number of its type.
        sums: float64, one column, zeros; becomes the sum of squares of each row.
        nonfinite: int64, one column, zeros; becomes how many elements of each row are not finite.
        place: of the first row's numbers in these two.

    Returns:
        how many rows have such an element.
    """
    values = carray(pointer(values_at, like), shape)
    rows, length = shape
    spoilt = 0
    for row in prange(rows):
        counts = nonfinite[place + row]
        for start in range(0, length, STRETCH):
            stretch = values[row, start : start + STRETCH]
            found = _sum_of_squares(stretch)
            if not SMALLEST_MEAN_SQUARE * len(stretch) < found < np.inf:  # which is so of a NaN, too
                found = _sum_of_squares_again(stretch, counts)
            sums[place + row, 0] += found
        spoilt += counts.any()
    return spoilt


@_compiled(2)
def sum_products(
    first_at: int, second_at: int, shape: Shape, like: Number, sums: Sums, nonfinite: Counts, place: int
) -> int:
    """Sum squares and products of each row of two arrays.

    Args:
        first_at: address of a, which is contiguous.
        second_at: of b, of the same shape and dtype.
        shape: as for `sum_squares`, like the next.
        like: a number of their type.
        sums: float64, five columns, zeros; becomes ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ‖b‖² of each row.
        nonfinite: int64, three columns, zeros; becomes how many elements of a, b and a + b are not finite.
        place: as for `sum_squares`.

    Returns:
        how many rows have such an element.
    """
    first, second = carray(pointer(first_at, like), shape), carray(pointer(second_at, like), shape)
    rows, length = shape
    spoilt = 0
    for row in prange(rows):
        counts = nonfinite[place + row]
        for start in range(0, length, STRETCH):
            a, b = first[row, start : start + STRETCH], second[row, start : start + STRETCH]
            found = _sum(a, b, b)
            if not _is_in_range(found, len(a)):
                found = _sum_again(a, b, b, counts)
            for index in range(5):
                sums[place + row, index] += found[index]
        spoilt += counts.any()
    return spoilt


@_compiled(4, "boolean")
def add_and_sum(
    first_at: int,
    second_at: int,
    reference_at: int,
    total_at: int,
    shape: Shape,
    like: Number,
    sums: Sums,
    nonfinite: Counts,
    place: int,
    in_place: bool,
) -> int:
    """Add two arrays, and sum squares and products of each row on the way.

    Args:
        first_at: address of a, which is contiguous.
        second_at: of b, of the same shape and dtype.
        reference_at: of r, likewise.
        total_at: of what becomes a + b.
        shape: as for `sum_squares`, like the next.
        like: a number of their type.
        sums: float64, five columns, zeros; becomes ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ⟨b, r⟩ of each row.
        nonfinite: as for `sum_products`.
        place: as for `sum_squares`.
        in_place: whether a + b takes the place of b.

    Returns:
        how many rows have an element that is not finite.
    """
    first, second = carray(pointer(first_at, like), shape), carray(pointer(second_at, like), shape)
    reference, total = carray(pointer(reference_at, like), shape), carray(pointer(total_at, like), shape)
    rows, length = shape
    spoilt = 0
    for row in prange(rows):
        counts = nonfinite[place + row]
        for start in range(0, length, STRETCH):
            end = start + STRETCH
            a, b, r = first[row, start:end], second[row, start:end], reference[row, start:end]
            found = _sum(a, b, r)
            if not _is_in_range(found, len(a)):
                found = _sum_again(a, b, r, counts)
            for index in range(5):
                sums[place + row, index] += found[index]
            # Told apart because memory that is read and written may overlap for all the compiler knows.
            if in_place:
                for index in range(len(a)):
                    b[index] += a[index]
            else:
                t = total[row, start:end]
                for index in range(len(a)):
                    t[index] = a[index] + b[index]
        spoilt += counts.any()
    return spoilt
