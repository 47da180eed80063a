"""What a probe makes of the gradients at each unit's edges: numbers, on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from gradflow.probing.parts import Parts, Place
from gradflow.probing.reductions import Reducer, Squares, on_host, polarised
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

    def parts(self, place: Place, parts: Parts) -> None:
        """Measure the parts of ∂E/∂x_l and their sum, while they are in the processor's cache."""
        found, reducer = self._gradients[place.unit], self._reducer
        shortcut, branch, other = parts.shortcut, parts.branch, parts.other
        if other is not None:
            found.other = reducer.squares(other)
        if shortcut is not None:
            total = self._arrived.get(place.total) if parts.shortcut_is_total else None
            found.shortcut = total if total is not None else reducer.squares(shortcut)
        if branch is not None:
            found.branch = reducer.squares(branch)
            self._extend_span(place.unit, found, branch, found.branch)
        together = parts.together
        if together is None:
            read = [part for part in (shortcut, branch, other) if part is not None]
            if not read:
                return
            together = reduce(torch.add, read)
        whole = reducer.squares(together)
        self._sums[place.unit] = _Sum(together, whole, together._version)  # noqa: SLF001 - no public name
        if shortcut is not None and branch is not None and found.shortcut and found.branch:
            if other is None and on_host(branch):
                found.inner = polarised(whole, found.shortcut, found.branch)
            if found.inner is None:
                found.inner = reducer.inner(shortcut, branch, (found.shortcut, found.branch))

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

    def _extend_span(self, unit: int, found: UnitGradients, branch: Tensor, size: Squares) -> None:
        """Add the branch's part to ⟨Σ b_i, ∂E/∂x_L⟩ of the span from this unit to its run's end."""
        run = self._runs.get(unit)
        if run is None or run not in self._end_gradients:
            return
        end = self._arrived[self._places[run.last].out]
        inner = self._reducer.inner(branch, self._end_gradients[run], (size, end))
        before = self._span_inner.get(run)
        found.span_inner = self._span_inner[run] = inner if before is None else before + inner
        found.span_arriving = end
        if unit == run.first:
            del self._end_gradients[run]
