"""Where kernels add up what they find in one pass: rows of few arrays that are there before it begins.

A pass makes hundreds of measurements while memory that it lets go of is cut up and used again. Small arrays
of each, kept until the end, would pin pieces of that, and tensors would find no room where others were.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gradflow.probing.kernels import Counts, Sums

Columns = tuple[int, int]
"""How many sums and how many counts of elements that are not finite a row has."""

OF_ONE: Columns = (1, 1)
OF_TWO: Columns = (5, 3)

_MEASUREMENTS = 64
"""Of so many the arrays have room, unless that is more than `_MOST` rows. More arrays are made if need be."""

_MOST = 2**14


class Rows(NamedTuple):
    """Some rows of an array of sums, and the same of one of counts."""

    all_sums: Sums
    all_counts: Counts
    start: int
    stop: int

    @property
    def place(self) -> tuple[Sums, Counts, int]:
        """Where a kernel writes to: both arrays, and the first row."""
        return self.all_sums, self.all_counts, self.start

    @property
    def sums(self) -> Sums:
        """The sums, shape (rows, columns)."""
        return self.all_sums[self.start : self.stop]

    @property
    def counts(self) -> Counts:
        """The counts, shape (rows, columns)."""
        return self.all_counts[self.start : self.stop]


def new_rows(number: int, columns: Columns) -> Rows:
    """Return rows of zeros, in arrays of their own."""
    sums, counts = columns
    return Rows(np.zeros((number, sums)), np.zeros((number, counts), dtype=np.int64), 0, number)


class Tally:
    """Hands out rows of zeros, each once.

    Args:
        batch: how many are asked for at a time, as a rule.
        columns: of each.
    """

    def __init__(self, batch: int, columns: Columns) -> None:
        self._columns = columns
        self._size = min(max(batch, 1) * _MEASUREMENTS, _MOST)
        self._free = new_rows(self._size, columns)

    def take(self, number: int) -> Rows:
        """Return so many rows that nobody else has."""
        sums, counts, start, end = self._free
        if end - start < number:
            sums, counts, start, end = new_rows(max(number, self._size), self._columns)
        self._free = Rows(sums, counts, start + number, end)
        return Rows(sums, counts, start, start + number)
