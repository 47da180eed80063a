"""What was measured of one tensor, or of two together, and arithmetic on it that can wait.

In the middle of a pass every step of Python is expensive: the tensors of the pass have driven all
else out of the processor's caches. So what a kernel has summed is kept as it is (`SummedPair`), and
made into what it means after the pass, for all units in a row (`read`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.kernels import Array, Sums

NONE_NONFINITE = torch.zeros((), dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Squares:
    """‖·‖² of one tensor: `per_sample` of shape (batch,) in float64, and the non-finite elements."""

    per_sample: Tensor
    nonfinite: Tensor

    @cached_property
    def total(self) -> Tensor:
        """The squared Frobenius norm of the whole batch, a float64 scalar."""
        return self.per_sample.sum()

    def read(self) -> Squares:
        """Return what was measured."""
        return self


@dataclass(frozen=True, eq=False)
class Pair:
    """What was measured of two tensors a and b together.

    Attributes:
        first: of a.
        second: of b.
        total: of a + b; None if it was not asked for and not had for nothing.
        inner: ⟨a, b⟩, shape (batch,).
        with_reference: ⟨b, r⟩, shape (batch,), if there was a third tensor r.
    """

    first: Squares
    second: Squares
    total: Squares | None
    inner: Tensor
    with_reference: Tensor | None = None

    @property
    def has_total(self) -> bool:
        """Whether a + b was measured."""
        return self.total is not None

    def read(self) -> Pair:
        """Return what was measured."""
        return self


class SummedPair:
    """What a kernel has summed of two tensors; see `gradflow.probing.kernels`.

    Args:
        sums: its rows: ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and, if there was a third tensor r, ⟨b, r⟩.
        nonfinite: elements of a, b and a + b that are not finite; None for none.
    """

    has_total = True

    def __init__(self, sums: Sums, nonfinite: NDArray[np.int64] | None) -> None:
        self._sums = sums
        self._nonfinite = nonfinite
        self._read: Pair | None = None

    def read(self) -> Pair:
        """Return what was measured, the same object at every call."""
        if self._read is None:
            nonfinite = [NONE_NONFINITE] * 3
            if self._nonfinite is not None:
                nonfinite = list(torch.from_numpy(self._nonfinite))
            rows = [torch.from_numpy(row) for row in self._sums]
            first, second, total = map(Squares, rows[:3], nonfinite)
            self._read = Pair(first, second, total, *rows[3:])
        return self._read


class Measured(Protocol):
    """A pair, or what will be one."""

    @property
    def has_total(self) -> bool:
        """Whether a + b was measured."""

    def read(self) -> Pair:
        """Return what was measured."""


class MeasuredSquares(Protocol):
    """`Squares`, or what will be."""

    def read(self) -> Squares | None:
        """Return what was measured."""


@dataclass(frozen=True, eq=False)
class PartOf:
    """The squares of one tensor of a pair, or of their sum."""

    pair: Measured
    which: Literal["first", "second", "total"]

    def read(self) -> Squares | None:
        """Return what was measured."""
        found: Squares | None = getattr(self.pair.read(), self.which)
        return found


def sum_again(sums: Sums, least: float, first: Array, second: Array, reference: Array | None) -> SummedPair:
    """Sum the products of doubtful samples once more, in float64.

    Inner products are no larger than what they are products of, so that the sums of squares tell
    which samples those are.

    Args:
        sums: as a kernel left it; becomes right.
        least: what the kernel was given.
        first: a.
        second: b.
        reference: r, if ⟨b, r⟩ is among the sums. If it is given, b of these samples becomes a + b.
    """
    squares = sums[:3]
    samples = np.flatnonzero(~((squares > least) & (squares < np.inf)).all(axis=0))
    a, b = first[samples], second[samples]
    with np.errstate(over="ignore", invalid="ignore"):  # as torch, which adds without a word
        wide = [value.astype(np.float64) for value in (a, b, a + b)]
        pairs = [(value, value) for value in wide] + [(wide[0], wide[1])]
        if reference is not None:
            pairs.append((wide[1], reference[samples].astype(np.float64)))
            second[samples] += a
        for row, (one, other) in zip(sums, pairs, strict=True):
            row[samples] = (one * other).sum(axis=1)
    return SummedPair(sums, np.array([np.count_nonzero(~np.isfinite(value)) for value in wide]))
