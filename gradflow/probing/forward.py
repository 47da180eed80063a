"""What a probe reads in the forward pass: the values at each unit's edges."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradflow.probing.dropped import find_dropped
from gradflow.probing.pairs import Measured, MeasuredSquares, PartOf, Squares
from gradflow.probing.reductions import Reducer
from gradflow.units.graph import Port
from gradflow.units.tracing import TracedUnit


@dataclass(frozen=True, eq=False)
class UnitValues:
    """‖·‖² of one unit's values, sample by sample; None where there is no such value.

    Attributes:
        x: x_l, the value at the fork.
        shortcut: h(x_l).
        branch: F(x_l).
        total: y_l.
        out: x_{l+1}.
        inner: ⟨h(x_l), F(x_l)⟩, shape (batch,).
        dropped: 1 for each sample whose branch was dropped, shape (batch,); None where that was not seen.
    """

    x: Squares | None
    shortcut: Squares | None
    branch: Squares
    total: Squares
    out: Squares | None
    inner: Tensor | None
    dropped: Tensor | None


class ForwardMeasures:
    """An observer that reduces values to numbers on the spot and keeps no tensor.

    An operand may be overwritten by an in-place addition a moment later. A value that has
    several parts to play (y_l, x_{l+1}, h(x_{l+1}) in a chain of identities) is reduced once.

    Attributes:
        reducer: does the reductions.
    """

    def __init__(self, reducer: Reducer) -> None:
        self.reducer = reducer
        self._dropped: list[Tensor | None] = []
        self._known: dict[Port, MeasuredSquares] = {}
        self._operands: list[Measured | Squares] = []

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Measure a value that is used twice."""
        self._measure(port, value)

    def operands(self, first: Tensor | None, second: Tensor) -> Measured | Squares:
        """Measure both operands of an addition, and their sum, while they are what they are."""
        return self.reducer.squares(second) if first is None else self.reducer.pair(first, second)

    def total(self, port: Port, value: Tensor, seen: Measured | Squares) -> None:
        """Measure a sum, if its operands did not tell, before an in-place activation can change it."""
        if not isinstance(seen, Squares) and seen.has_total:
            self._known.setdefault(port, PartOf(seen, "total"))
        else:
            self._measure(port, value)

    def unit(self, unit: TracedUnit, seen: Measured | Squares) -> None:
        """Note what was measured of a unit."""
        self._dropped.append(find_dropped(unit, self.reducer.batch))
        self._operands.append(seen)
        if unit.shortcut == "identity" and not isinstance(seen, Squares):
            self._known.setdefault(unit.fork, unit.in_roles(PartOf(seen, "first"), PartOf(seen, "second"))[0])

    def out_value(self, port: Port, value: Tensor) -> None:
        """Measure f(y_l)."""
        self._measure(port, value)

    def of(self, units: list[TracedUnit]) -> list[UnitValues]:
        """Return what was read for each unit."""
        return [self._values(unit, seen) for unit, seen in zip(units, self._operands, strict=True)]

    def _values(self, unit: TracedUnit, seen: Measured | Squares) -> UnitValues:
        """Return what was read for one unit, of whose operands, or of whose F(x_l), `seen` is known."""
        total = self._at(unit.total)
        assert total is not None
        x, out, dropped = self._at(unit.fork), self._at(unit.out), self._dropped[unit.index]
        if isinstance(seen, Squares):
            return UnitValues(x, None, seen, total, out, None, dropped)
        pair = seen.read()
        shortcut, branch = unit.in_roles(pair.first, pair.second)
        h = x if unit.shortcut == "identity" else shortcut
        return UnitValues(x, h, branch, total, out, pair.inner, dropped)

    def _at(self, port: Port) -> Squares | None:
        known = self._known.get(port)
        return None if known is None else known.read()

    def _measure(self, port: Port, value: Tensor) -> None:
        if port not in self._known:
            self._known[port] = self.reducer.sum_squares(value)
