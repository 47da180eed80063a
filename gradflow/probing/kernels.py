"""Sums over tensors in one reading of them.

What a probe costs is fetching tensors from memory. PyTorch reduces one tensor at a time, and what
is wanted here of two of them takes it six readings and three writings; compiled by Numba, it is
one reading of each. The loops run on as many threads as Numba has, and let go of Python's lock.

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


def _compiled(arrays: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile a function of so many arrays and its sums when this module is imported, not when it is called.

    A first call would otherwise take the compiler's time and memory, in the middle of somebody's pass.
    Sums may be made in any order, which is what lets them be vectorised. The rounding of one addition
    is the processor's: `total` in `add_and_sum` has the bits of torch's own sum.
    """
    signatures = [f"void({arrays * f'{kind}[:, ::1], '}float64[:, ::1])" for kind in ("float32", "float64")]
    compiled: Callable[[Callable[..., None]], Callable[..., None]] = njit(
        signatures, parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"}
    )
    return compiled


@_compiled(2)
def sum_products(first: Array, second: Array, sums: Sums) -> None:
    """Sum squares and products of each row of two arrays.

    Args:
        first: a, shape (rows, n), contiguous.
        second: b, of the same shape and dtype.
        sums: float64 (4, rows); becomes ‖a‖², ‖b‖², ‖a + b‖² and ⟨a, b⟩ of each row.
    """
    rows, length = first.shape
    zero = first.dtype.type(0)
    for row in prange(rows):
        sum_aa, sum_bb, sum_tt, sum_ab = 0.0, 0.0, 0.0, 0.0
        for start in range(0, length, BLOCK):
            aa, bb, tt, ab = zero, zero, zero, zero
            for column in range(start, min(start + BLOCK, length)):
                a, b = first[row, column], second[row, column]
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


@_compiled(4)
def add_and_sum(first: Array, second: Array, reference: Array, total: Array, sums: Sums) -> None:
    """Add two arrays, and sum squares and products of each row on the way.

    Args:
        first: a, shape (rows, n), contiguous.
        second: b, of the same shape and dtype.
        reference: r, likewise.
        total: becomes a + b.
        sums: float64 (5, rows); becomes ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ⟨b, r⟩ of each row.
    """
    rows, length = first.shape
    zero = first.dtype.type(0)
    for row in prange(rows):
        sum_aa, sum_bb, sum_tt, sum_ab, sum_br = 0.0, 0.0, 0.0, 0.0, 0.0
        for start in range(0, length, BLOCK):
            aa, bb, tt, ab, br = zero, zero, zero, zero, zero
            for column in range(start, min(start + BLOCK, length)):
                a, b, r = first[row, column], second[row, column], reference[row, column]
                t = a + b
                total[row, column] = t
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
