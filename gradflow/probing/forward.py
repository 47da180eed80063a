"""What a probe reads in the forward pass: the values at each unit's edges."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradflow.probing.reductions import Reducer, Squares
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
    """

    x: Squares | None
    shortcut: Squares | None
    branch: Squares
    total: Squares
    out: Squares | None
    inner: Tensor | None


@dataclass(eq=False)
class _Operands:
    shortcut: Squares | None
    branch: Squares
    total: Squares | None
    inner: Tensor | None


class ForwardMeasures:
    """An observer that reduces values to numbers on the spot and keeps no tensor.

    An operand may be overwritten by an in-place addition a moment later. A value that has
    several parts to play (y_l, x_{l+1}, h(x_{l+1}) in a chain of identities) is reduced once.

    Attributes:
        reducer: does the reductions.
    """

    def __init__(self, reducer: Reducer) -> None:
        self.reducer = reducer
        self._known: dict[Port, Squares] = {}
        self._operands: list[_Operands] = []

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Measure a value that is used twice."""
        self._measure(port, value)

    def operands(self, split: Split | None, shortcut: Tensor | None, branch: Tensor) -> None:
        """Measure h(x_l) and F(x_l), and their sum, while both are what they are."""
        if shortcut is None:
            self._operands.append(_Operands(None, self.reducer.squares(branch), None, None))
            return
        pair = self.reducer.pair(shortcut, branch)
        h = pair.first
        if split is not None and split.shortcut == "identity":
            h = self._known.setdefault(split.fork, h)
        self._operands.append(_Operands(h, pair.second, pair.total, pair.inner))

    def total(self, unit: TracedUnit, value: Tensor) -> None:
        """Measure y_l, if its operands did not tell, before an in-place activation can change it."""
        known = self._operands[unit.index].total
        if known is None:
            self._measure(unit.total, value)
        else:
            self._known[unit.total] = known

    def out_value(self, port: Port, value: Tensor) -> None:
        """Measure f(y_l)."""
        self._measure(port, value)

    def of(self, units: list[TracedUnit]) -> list[UnitValues]:
        """Return what was read for each unit."""
        return [
            UnitValues(
                x=self._known.get(unit.fork),
                shortcut=read.shortcut,
                branch=read.branch,
                total=self._known[unit.total],
                out=self._known.get(unit.out),
                inner=read.inner,
            )
            for unit, read in zip(units, self._operands, strict=True)
        ]

    def _measure(self, port: Port, value: Tensor) -> Squares:
        squares = self._known.get(port)
        if squares is None:
            squares = self._known[port] = self.reducer.squares(value)
        return squares
