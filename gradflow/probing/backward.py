"""What a probe makes of the gradients at each unit's edges: numbers, on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gradflow.probing.parts import Parts, Place
from gradflow.probing.reductions import Reducer, Squares, can_polarise, on_host, polarised
from gradflow.tolerances import one_addition
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
        self._sums: dict[int, Tensor] = {}
        self._end_gradients: dict[Run, Tensor] = {}
        self._span_inner: dict[Run, Tensor] = {}

    def arrived(self, port: int, gradient: Tensor) -> None:
        """Measure the whole gradient of a port, once."""
        self._arrived[port] = self._reducer.squares(gradient)
        run = self._run_of_end.get(port)
        if run is not None:
            self._end_gradients[run] = gradient

    def parts(self, place: Place, parts: Parts) -> None:
        """Measure the parts of ∂E/∂x_l, and keep their sum for `whole`."""
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
        if shortcut is not None and branch is not None and found.shortcut and found.branch:
            norms_do = other is None and on_host(branch) and can_polarise(found.shortcut, found.branch)
            sizes = found.shortcut, found.branch
            found.inner = None if norms_do else reducer.inner(shortcut, branch, sizes)
        read = [part for part in (shortcut, branch, other) if part is not None]
        if read:
            self._sums[place.unit] = reducer.sum_of(read)

    def whole(self, place: Place, arriving: Tensor) -> None:
        """Compare ∂E/∂x_l with the sum of its parts, and take ⟨s, b⟩ from the norm of that sum."""
        together = self._sums.pop(place.unit, None)
        if together is None:
            return
        found = self._gradients[place.unit]
        whole = self._arrived[place.fork]
        found.additivity = self._reducer.remainder(together, arriving)
        if found.inner is None and found.shortcut is not None and found.branch is not None:
            rounding = one_addition(str(arriving.dtype).removeprefix("torch."))
            if not float(found.additivity) <= rounding**2 * float(whole.total):
                # Something else has changed the gradient on its way: s + b is what was read.
                whole = self._reducer.squares(together.add_(arriving))
            found.inner = polarised(whole, found.shortcut, found.branch)
        self._reducer.give_back(together)

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
