"""What a probe makes of the gradients at each unit's edges: numbers, on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from gradflow.probing.parts import Parts, Place
from gradflow.probing.reductions import Reducer, Squares
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
    squares: Squares
    version: int

    def is_still(self, other: Tensor) -> bool:
        """Whether `other` is this very tensor, and nothing has written to it since."""
        return other is self.value and other._version == self.version  # noqa: SLF001 - no public name


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
        self._arrived: dict[int, Squares] = {}
        self._runs = {index: run for run in runs for index in range(run.first, run.last + 1)}
        self._run_of_end = {places[run.last].out: run for run in runs}
        self._sums: dict[int, _Sum] = {}
        self._unit_of_fork = {place.fork: place.unit for place in places if place.adds}
        self._end_gradients: dict[Run, Tensor] = {}
        self._span_inner: dict[Run, Tensor] = {}

    def arrived(self, port: int, gradient: Tensor) -> None:
        """Measure the whole gradient of a port, once."""
        made_here = self._sums.get(self._unit_of_fork.get(port, -1))
        if made_here is not None and made_here.is_still(gradient):
            self._arrived[port] = made_here.squares
        else:
            self._arrived[port] = self._reducer.squares(gradient)
        run = self._run_of_end.get(port)
        if run is not None:
            self._end_gradients[run] = gradient

    def parts(self, place: Place, parts: Parts) -> Tensor | None:
        """Measure the parts of ∂E/∂x_l and their sum, which is returned."""
        found, reducer = self._gradients[place.unit], self._reducer
        shortcut, branch = parts.shortcut, parts.branch
        run = self._runs.get(place.unit)
        end = None if run is None else self._end_gradients.get(run)
        if shortcut is not None and branch is not None and len(parts.in_order) == 2:
            together, pair, with_end = reducer.add(shortcut, branch, end)
            found.shortcut, found.branch, found.inner = pair.first, pair.second, pair.inner
            found.both = whole = pair.total or reducer.squares(together)
        else:
            read = parts.in_order or [part for part in (shortcut, branch, parts.other) if part is not None]
            if not read:
                return None
            together = reduce(torch.add, read)
            whole = reducer.squares(together)
            found.shortcut, found.branch, found.other = (
                None if part is None else reducer.squares(part) for part in (shortcut, branch, parts.other)
            )
            if shortcut is not None and branch is not None:
                found.inner = reducer.inner(shortcut, branch)
                found.both = reducer.squares(shortcut + branch)
            with_end = None if branch is None or end is None else reducer.inner(branch, end)
        if shortcut is not None and parts.shortcut_is_total:
            found.shortcut = self._arrived.get(place.total, found.shortcut)
        self._sums[place.unit] = _Sum(together, whole, together._version)  # noqa: SLF001 - no public name
        if run is not None and with_end is not None:
            self._extend_span(run, place, with_end)
        return together

    def whole(self, place: Place, arriving: Tensor) -> None:
        """Compare ∂E/∂x_l with the sum of its parts."""
        made_here = self._sums.pop(place.unit, None)
        if made_here is None:
            return
        if made_here.is_still(arriving):
            self._gradients[place.unit].additivity = _NOTHING
        else:
            self._gradients[place.unit].additivity = self._reducer.squares(made_here.value - arriving).total

    def results(self) -> list[UnitGradients]:
        """Return what was read for each unit."""
        for place, found in zip(self._places, self._gradients, strict=True):
            found.total = self._arrived.get(place.total)
            found.out = self._arrived.get(place.out)
            found.arriving = self._arrived.get(place.fork)
        return self._gradients

    def _extend_span(self, run: Run, place: Place, with_end: Tensor) -> None:
        """Add the branch's part to ⟨Σ b_i, ∂E/∂x_L⟩ of the span from this unit to its run's end.

        Args:
            run: of the unit.
            place: of the unit.
            with_end: ⟨b, ∂E/∂x_L⟩, shape (batch,).
        """
        before = self._span_inner.get(run)
        found = self._gradients[place.unit]
        found.span_inner = self._span_inner[run] = with_end if before is None else before + with_end
        found.span_arriving = self._arrived[self._places[run.last].out]
        if place.unit == run.first:
            del self._end_gradients[run]
