"""Two that watch one pass: each sees everything, in the order in which they are given."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gradflow.probing.parts import Listener, Parts, Place
from gradflow.units.graph import Port
from gradflow.units.tracing import Observer, TracedUnit


class Observers:
    """Several observers of one forward pass, as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Show all of them a value that is used twice."""
        for observer in self._observers:
            observer.fork_value(port, value)

    def operands(self, first: Tensor | None, second: Tensor) -> list[Any]:
        """Show all of them an addition's operands; return what each wants to be handed."""
        return [observer.operands(first, second) for observer in self._observers]

    def total(self, port: Port, value: Tensor, seen: list[Any]) -> None:
        """Show all of them a sum."""
        for observer, its_own in zip(self._observers, seen, strict=True):
            observer.total(port, value, its_own)

    def unit(self, unit: TracedUnit, seen: list[Any]) -> None:
        """Tell all of them of a unit."""
        for observer, its_own in zip(self._observers, seen, strict=True):
            observer.unit(unit, its_own)

    def out_value(self, port: Port, value: Tensor) -> None:
        """Show all of them f(y_l)."""
        for observer in self._observers:
            observer.out_value(port, value)


class Listeners:
    """Several listeners to one backward pass, as one; the last one's sums may take the engine's place."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def arrived(self, port: int, gradient: Tensor) -> None:
        """Show all of them a whole gradient."""
        for listener in self._listeners:
            listener.arrived(port, gradient)

    def parts(self, place: Place, parts: Parts) -> Tensor | None:
        """Show all of them a gradient's parts; return what the last one says."""
        together = None
        for listener in self._listeners:
            together = listener.parts(place, parts)
        return together

    def whole(self, place: Place, arriving: Tensor) -> None:
        """Show all of them what autograd made of the parts."""
        for listener in self._listeners:
            listener.whole(place, arriving)
