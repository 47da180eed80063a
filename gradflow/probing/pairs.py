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

from gradflow.probing.tally import Rows

NONE_NONFINITE = torch.zeros((), dtype=torch.int64)
_NONE_OF_THREE = (NONE_NONFINITE,) * 3


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


class SummedSquares:
    """What a kernel has summed of one tensor; see `gradflow.probing.kernels`.

    Args:
        rows: their sum is ‖·‖² of each sample; the same number of rows for each, one after another.
        samples: of the tensor.
        spoilt: whether elements are not finite.
    """

    __slots__ = ("_read", "_rows", "_samples", "_spoilt")

    def __init__(self, rows: Rows, samples: int, *, spoilt: bool) -> None:
        self._rows = rows
        self._samples = samples
        self._spoilt = spoilt
        self._read: Squares | None = None

    def read(self) -> Squares:
        """Return what was measured, the same object at every call."""
        if self._read is None:
            sums = self._rows.sums[:, 0]
            if len(sums) != self._samples:
                sums = sums.reshape(self._samples, -1).sum(axis=1)
            nonfinite = NONE_NONFINITE
            if self._spoilt:
                nonfinite = torch.tensor(self._rows.counts.sum())
            self._read = Squares(torch.from_numpy(sums), nonfinite)
        return self._read


class SummedPair:
    """What a kernel has summed of two tensors; see `gradflow.probing.kernels`.

    Args:
        rows: columns of sums: ‖a‖², ‖b‖², ‖a + b‖², ⟨a, b⟩ and ⟨b, r⟩ of each sample, r being a third tensor;
            of counts: elements of a, b and a + b that are not finite.
        spoilt: whether there are such.
    """

    __slots__ = ("_read", "_rows", "_spoilt")

    has_total = True

    def __init__(self, rows: Rows, *, spoilt: bool) -> None:
        self._rows = rows
        self._spoilt = spoilt
        self._read: Pair | None = None

    def read(self) -> Pair:
        """Return what was measured, the same object at every call."""
        if self._read is None:
            counts = self._rows.counts
            nonfinite = torch.from_numpy(counts.sum(axis=0)).unbind() if self._spoilt else _NONE_OF_THREE
            columns = torch.from_numpy(np.ascontiguousarray(self._rows.sums.T)).unbind()
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
