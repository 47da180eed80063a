"""What a probe makes of the gradients at each unit's edges: numbers, on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from gradflow.probing.pairs import Measured, MeasuredSquares, PartOf, Squares
from gradflow.probing.parts import Parts, Place
from gradflow.probing.reductions import Reducer
from gradflow.units.runs import Run


@dataclass(eq=False)
class UnitGradients:
    """‖·‖² of one unit's gradients, sample by sample; None where nothing was read.

    Attributes:
        total: ∂E/∂y_l, what arrives at the addition.
        out: ∂E/∂x_{l+1}.
        arriving: ∂E/∂x_l as autograd delivers it.
        shortcut: s, the shortcut's part of it.
        branch: b, the branch's part.
        other: what reaches x_l from outside the unit; None stands for nothing, exactly.
        both: s + b.
        inner: ⟨s, b⟩, shape (batch,).
        additivity: ‖s + b + other − ∂E/∂x_l‖², a scalar.
        span_inner: ⟨Σ b_i, ∂E/∂x_L⟩ over the span from l to its run's end, shape (batch,).
        span_arriving: ∂E/∂x_L.
    """

    total: Squares | None = None
    out: Squares | None = None
    arriving: Squares | None = None
    shortcut: Squares | None = None
    branch: Squares | None = None
    other: Squares | None = None
    both: Squares | None = None
    inner: Tensor | None = None
    additivity: Tensor | None = None
    span_inner: Tensor | None = None
    span_arriving: Squares | None = None


_NOTHING = torch.zeros((), dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class _Sum:
    """The sum of a gradient's parts, what was measured of it, and its version then."""

    value: Tensor
    squares: MeasuredSquares
    version: int

    def is_still(self, other: Tensor) -> bool:
        """Whether `other` is this very tensor, and nothing has written to it since."""
        return other is self.value and other._version == self.version  # noqa: SLF001 - no public name

    def is_the_same_as(self, other: Tensor) -> bool:
        """Whether `other` is this tensor or one of the same numbers, as the engine's own sum of the parts is.

        To compare them costs a reading of both, and to measure their difference several. On other devices
        every look at a value would wait for it, so there the difference is measured.
        """
        if self.is_still(other):
            return True
        unwritten = self.value._version == self.version  # noqa: SLF001 - as above
        return (
            unwritten and other.is_cpu and other.dtype == self.value.dtype and torch.equal(other, self.value)
        )


class BackwardMeasures:
    """A listener that reduces gradients to numbers and keeps one tensor a run, ∂E/∂x_L.

    Args:
        places: each unit's ports.
        runs: the runs of units of the form of eq. 3.
        reducer: does the reductions.
    """

    def __init__(self, places: Sequence[Place], runs: Sequence[Run], reducer: Reducer) -> None:
        self._reducer = reducer
        self._places = places
        self._gradients = [UnitGradients() for _ in places]
        self._arrived: dict[int, MeasuredSquares] = {}
        self._runs = {index: run for run in runs for index in range(run.first, run.last + 1)}
        self._run_of_end = {places[run.last].total: run for run in runs}
        self._sums: dict[int, _Sum] = {}
        self._unit_of_fork = {place.fork: place.unit for place in places}
        self._as_made: set[int] = set()
        self._end_gradients: dict[Run, Tensor] = {}
        self._pairs: dict[int, Measured] = {}
        self._with_end: dict[int, Tensor | None] = {}
        self._untouched: set[int] = set()
        self._swapped: set[int] = set()

    def arrived(self, port: int, gradient: Tensor) -> None:
        """Measure the whole gradient of a port, once."""
        unit = self._unit_of_fork.get(port, -1)
        made_here = self._sums.get(unit)
        if made_here is not None and made_here.is_the_same_as(gradient):
            self._arrived[port] = made_here.squares
            self._as_made.add(unit)
        else:
            self._arrived[port] = self._reducer.sum_squares(gradient)
        run = self._run_of_end.get(port)
        if run is not None:
            self._end_gradients[run] = gradient

    def parts(self, place: Place, parts: Parts) -> Tensor | None:
        """Measure the parts of ∂E/∂x_l and their sum, which takes the last one's place if that is free."""
        shortcut, branch, unit = parts.shortcut, parts.branch, place.unit
        run = self._runs.get(unit)
        end = None if run is None else self._end_gradients.get(run)
        whole: MeasuredSquares
        # Where the two lie in memory otherwise than each other, the engine's sum lies as the first of them.
        alike = len({part.stride() for part in parts.in_order}) == 1
        if shortcut is not None and branch is not None and len(parts.in_order) == 2 and alike:
            swapped = parts.in_order[1] is shortcut and end is None
            first, last = (branch, shortcut) if swapped else (shortcut, branch)
            in_place = parts.last_is_free and last is parts.in_order[1]
            together, pair = self._reducer.add(first, last, end, in_place=in_place)
            if swapped:
                self._swapped.add(unit)
            whole = PartOf(pair, "total")
            self._pairs[unit] = pair
            if end is not None:
                self._with_end[unit] = None  # it is the pair's
        else:
            read = parts.in_order or [part for part in (shortcut, branch, parts.other) if part is not None]
            if not read:
                return None
            together = reduce(torch.add, read)
            whole = self._reducer.sum_squares(together)
            self._measure_apart(self._gradients[unit], parts)
            if branch is not None and end is not None:
                self._with_end[unit] = self._reducer.inner(branch, end)
        if shortcut is not None and parts.shortcut_is_total:
            self._untouched.add(unit)
        self._sums[unit] = _Sum(together, whole, together._version)  # noqa: SLF001 - no public name
        if run is not None and unit == run.first:
            self._end_gradients.pop(run, None)
        return together

    def whole(self, place: Place, arriving: Tensor) -> None:
        """Compare ∂E/∂x_l with the sum of its parts."""
        made_here = self._sums.pop(place.unit, None)
        if made_here is None:
            return
        if place.unit in self._as_made:
            self._gradients[place.unit].additivity = _NOTHING
        else:
            self._gradients[place.unit].additivity = self._reducer.squares(made_here.value - arriving).total

    def results(self) -> list[UnitGradients]:
        """Return what was read for each unit."""
        arrived = {port: squares.read() for port, squares in self._arrived.items()}
        for place, found in zip(self._places, self._gradients, strict=True):
            found.total = arrived.get(place.total)
            found.out = arrived.get(place.out)
            found.arriving = arrived.get(place.fork)
            if place.unit in self._pairs:
                pair = self._pairs[place.unit].read()
                found.shortcut, found.branch = pair.first, pair.second
                if place.unit in self._swapped:
                    found.shortcut, found.branch = pair.second, pair.first
                found.both, found.inner = pair.total, pair.inner
            if place.unit in self._untouched:
                found.shortcut = arrived.get(place.total, found.shortcut)
        for run in dict.fromkeys(self._runs.values()):
            self._add_up_span(run, arrived.get(self._places[run.last].total))
        return self._gradients

    def _measure_apart(self, found: UnitGradients, parts: Parts) -> None:
        """Measure the parts of ∂E/∂x_l where they are not two, a shortcut's and a branch's."""
        reducer = self._reducer
        found.shortcut, found.branch, found.other = (
            None if part is None else reducer.squares(part)
            for part in (parts.shortcut, parts.branch, parts.other)
        )
        if parts.shortcut is not None and parts.branch is not None:
            found.inner = reducer.inner(parts.shortcut, parts.branch)
            found.both = reducer.squares(parts.shortcut + parts.branch)

    def _add_up_span(self, run: Run, end: Squares | None) -> None:
        """Add up ⟨Σ b_i, ∂E/∂x_L⟩ of the spans from each unit of a run to its end.

        Args:
            run: the units.
            end: ∂E/∂x_L.
        """
        together: Tensor | None = None
        for unit in range(run.last, run.first - 1, -1):
            if unit not in self._with_end:
                continue
            with_end = self._with_end[unit]
            if with_end is None:
                with_end = self._pairs[unit].read().with_reference
                assert with_end is not None
            together = with_end if together is None else together + with_end
            found = self._gradients[unit]
            found.span_inner, found.span_arriving = together, end
