"""Sums over tensors in one reading of them.

What a probe costs is fetching tensors from memory. PyTorch reduces one tensor at a time, and what
is wanted here of two of them takes it six readings and three writings; compiled by Numba, it is
one reading of each. The loops run on as many threads as Numba has, and let go of Python's lock.

A block is taken as a slice and read from its first element on: an index into a row might be negative for
all that the compiler knows, and it would then gather the elements one by one, at a tenth of the speed.

Products are summed in the dtype of the arrays over blocks of 256, so that an error grows with the
length of a block (vectorised, eight additions), and blocks are summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[Any]
Sums = NDArray[np.float64]

BLOCK = 256


Summing = Callable[..., int]


def _compiled(arrays: int) -> Callable[[Summing], Summing]:
    """Compile a function of so many arrays, its sums and a limit at import, not when it is called.

    A first call would otherwise take the compiler's time and memory, in the middle of somebody's pass.
    Sums may be made in any order, which is what lets them be vectorised. The rounding of one addition
    is the processor's: what `sum_and_add` adds has the bits of torch's own sum.
    """
    signatures = [
        f"int64({arrays * f'{kind}[:, ::1], '}float64[:, ::1], float64)" for kind in ("float32", "float64")
    ]
    compiled: Callable[[Summing], Summing] = njit(
        signatures, parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"}
    )
    return compiled


@_compiled(2)
def sum_products(first: Array, second: Array, sums: Sums, least: float) -> int:
    """Sum squares and products of each row of two arrays.

    Args:
        first: a, shape (rows, n), contiguous.
        second: b, of the same shape and dtype.
        sums: float64 (4, rows); becomes ‖a‖², ‖b‖², ‖a + b‖² and ⟨a, b⟩ of each row.
        least: a sum of squares that has lost nothing to underflow is larger.

    Returns:
        how many rows are doubtful: one of their sums of squares is at most `least`, infinite or NaN.
    """
    rows, length = first.shape
    zero = first.dtype.type(0)
    doubtful = 0
    for row in prange(rows):
        sum_aa, sum_bb, sum_tt, sum_ab = 0.0, 0.0, 0.0, 0.0
        row_a, row_b = first[row], second[row]
        for start in range(0, length, BLOCK):
            block_a, block_b = row_a[start : start + BLOCK], row_b[start : start + BLOCK]
            aa, bb, tt, ab = zero, zero, zero, zero
            for index in range(len(block_a)):
                a, b = block_a[index], block_b[index]
                t = a + b
                aa += a * a
                bb += b * b
                tt += t * t
                ab += a * b
            sum_aa += aa
            sum_bb += bb
            sum_tt += tt
            sum_ab += ab
        sums[0, row], sums[1, row], sums[2, row], sums[3, row] = sum_aa, sum_bb, sum_tt, sum_ab
        # Each comparison is false of a NaN.
        if not (least < sum_aa < np.inf and least < sum_bb < np.inf and least < sum_tt < np.inf):
            doubtful += 1
    return doubtful


@_compiled(3)
def sum_and_add(first: Array, second: Array, reference: Array, sums: Sums, least: float) -> int:
    """Sum squares and products of each row of two arrays, and add the first to the second.

    A doubtful row is not added: what was lost to underflow or overflow has to be summed again, from
    the row as it was.

    Args:
        first: a, shape (rows, n), contiguous.
        second: b, of the same shape and dtype; becomes a + b.
        reference: r, likewise.
        sums: float64 (5, rows); becomes ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ⟨b, r⟩ of each row.
        least: as for `sum_products`.

    Returns:
        how many rows are doubtful.
    """
    rows, length = first.shape
    zero = first.dtype.type(0)
    doubtful = 0
    for row in prange(rows):
        sum_aa, sum_bb, sum_tt, sum_ab, sum_br = 0.0, 0.0, 0.0, 0.0, 0.0
        row_a, row_b, row_r = first[row], second[row], reference[row]
        for start in range(0, length, BLOCK):
            block_a, block_b = row_a[start : start + BLOCK], row_b[start : start + BLOCK]
            block_r = row_r[start : start + BLOCK]
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
        sums[0, row], sums[1, row], sums[2, row] = sum_aa, sum_bb, sum_tt
        sums[3, row], sums[4, row] = sum_ab, sum_br
        if least < sum_aa < np.inf and least < sum_bb < np.inf and least < sum_tt < np.inf:
            for index in range(length):
                row_b[index] += row_a[index]
        else:
            doubtful += 1
    return doubtful
