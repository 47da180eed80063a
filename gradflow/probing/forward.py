"""What a probe reads in the forward pass: the values at each unit's edges."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradflow.probing.dropped import find_dropped
from gradflow.probing.pairs import Measured, MeasuredSquares, PartOf, Squares
from gradflow.probing.reductions import Reducer
from gradflow.units.classification import Split
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
        self._operands: list[tuple[Port | None, Measured | Squares]] = []

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Measure a value that is used twice."""
        self._measure(port, value)

    def operands(self, split: Split | None, shortcut: Tensor | None, branch: Tensor) -> None:
        """Measure h(x_l) and F(x_l), and their sum, while both are what they are."""
        if shortcut is None:
            self._operands.append((None, self.reducer.squares(branch)))
            return
        pair = self.reducer.pair(shortcut, branch)
        same = split.fork if split is not None and split.shortcut == "identity" else None
        if same is not None and same not in self._known:
            self._known[same] = PartOf(pair, "first")
        self._operands.append((same, pair))

    def total(self, unit: TracedUnit, value: Tensor) -> None:
        """Measure y_l, if its operands did not tell, before an in-place activation can change it."""
        self._dropped.append(find_dropped(unit, self.reducer.batch))
        pair = self._operands[unit.index][1]
        if not isinstance(pair, Squares) and pair.has_total:
            self._known[unit.total] = PartOf(pair, "total")
        else:
            self._measure(unit.total, value)

    def out_value(self, port: Port, value: Tensor) -> None:
        """Measure f(y_l)."""
        self._measure(port, value)

    def of(self, units: list[TracedUnit]) -> list[UnitValues]:
        """Return what was read for each unit."""
        return [self._values(unit, *read) for unit, read in zip(units, self._operands, strict=True)]

    def _values(self, unit: TracedUnit, same: Port | None, operands: Measured | Squares) -> UnitValues:
        """Return what was read for one unit.

        Args:
            unit: the unit.
            same: its fork, if h(x_l) is x_l and measured as such.
            operands: h(x_l) and F(x_l), or F(x_l) alone.
        """
        total = self._at(unit.total)
        assert total is not None
        x, out, dropped = self._at(unit.fork), self._at(unit.out), self._dropped[unit.index]
        if isinstance(operands, Squares):
            return UnitValues(x, None, operands, total, out, None, dropped)
        pair = operands.read()
        shortcut = pair.first if same is None else self._at(same)
        return UnitValues(x, shortcut, pair.second, total, out, pair.inner, dropped)

    def _at(self, port: Port) -> Squares | None:
        known = self._known.get(port)
        return None if known is None else known.read()

    def _measure(self, port: Port, value: Tensor) -> None:
        if port not in self._known:
            self._known[port] = self.reducer.sum_squares(value)
