"""What a probe makes of the gradients at each unit's edges: numbers, on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
        self._end_gradients: dict[Run, Tensor] = {}
        self._span_inner: dict[Run, Tensor] = {}

    def arrived(self, port: int, gradient: Tensor) -> None:
        """Measure the whole gradient of a port, once."""
        self._arrived[port] = self._reducer.squares(gradient)
        run = self._run_of_end.get(port)
        if run is not None:
            self._end_gradients[run] = gradient

    def parts(self, place: Place, parts: Parts, arriving: Tensor) -> None:
        """Measure the parts of ∂E/∂x_l."""
        found = self._gradients[place.unit]
        run = self._runs.get(place.unit)
        total = self._arrived.get(place.total) if parts.shortcut_is_total else None
        if parts.other is not None:
            found.other = self._reducer.squares(parts.other)
        if parts.shortcut is None and parts.branch is None:
            return
        numbers = self._reducer.parts(
            arriving,
            parts.shortcut,
            parts.branch,
            parts.other,
            measure_shortcut=total is None,
            end=self._end_gradients.get(run) if run is not None else None,
        )
        found.shortcut = total if total is not None else numbers.shortcut
        found.branch, found.inner = numbers.branch, numbers.inner
        found.additivity = numbers.remainder
        if run is not None and numbers.end_inner is not None:
            before = self._span_inner.get(run)
            found.span_inner = numbers.end_inner if before is None else before + numbers.end_inner
            self._span_inner[run] = found.span_inner
            found.span_arriving = self._arrived[self._places[run.last].out]
        if run is not None and place.unit == run.first:
            self._end_gradients.pop(run, None)

    def results(self) -> list[UnitGradients]:
        """Return what was read for each unit."""
        for place, found in zip(self._places, self._gradients, strict=True):
            found.total = self._arrived.get(place.total)
            found.out = self._arrived.get(place.out)
            found.arriving = self._arrived.get(place.fork)
        return self._gradients
