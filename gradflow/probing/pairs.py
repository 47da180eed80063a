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
from torch import Tensor

from gradflow.probing.kernels import Counts, Sums

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
        sums: its columns: ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ⟨b, r⟩, r being a third tensor.
        nonfinite: its columns: elements of a, b and a + b that are not finite; None for none.
    """

    has_total = True

    def __init__(self, sums: Sums, nonfinite: Counts | None) -> None:
        self._sums = sums
        self._nonfinite = nonfinite
        self._read: Pair | None = None

    def read(self) -> Pair:
        """Return what was measured, the same object at every call."""
        if self._read is None:
            nonfinite = [NONE_NONFINITE] * 3
            if self._nonfinite is not None:
                nonfinite = list(torch.from_numpy(self._nonfinite.sum(axis=0)))
            columns = list(torch.from_numpy(np.ascontiguousarray(self._sums.T)))
            first, second, total = map(Squares, columns[:3], nonfinite)
            self._read = Pair(first, second, total, *columns[3:])
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
