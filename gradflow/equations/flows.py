"""What goes along a chain of units, forward or backward, and what each unit does to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from gradflow.equations.residuals import Residual, Sizes
from gradflow.equations.spans import Chain
from gradflow.equations.sums import UNCHANGED, Against, Along, Carry
from gradflow.equations.tensors import Tensors
from gradflow.units.graph import Port


@dataclass(frozen=True)
class Variant:
    """Which of its factors a statement has in place.

    Attributes:
        shortcuts: h as it is, rather than the identity.
        masks: f as ReLU's mask, rather than the identity.
    """

    shortcuts: bool = False
    masks: bool = False


@dataclass(frozen=True, eq=False)
class CarriedBack:
    """What arrives through shortcuts and masks alone, for each unit of a span, in float64.

    Attributes:
        forks: at x_l.
        totals: at y_l.
    """

    forks: list[Tensor]
    totals: list[Tensor]


@dataclass(eq=False)
class Flow:
    """A value on its way along a chain.

    Args:
        tensors: of the run.
        chain: the units.
        variant: what the statement has in place.
    """

    tensors: Tensors
    chain: Chain
    variant: Variant
    forward: bool

    def along(self, start: int, ends: Sequence[int]) -> Iterator[tuple[int, Residual | None]]:
        """Yield the residual of the span from `start` to each of `ends`, the nearest first."""
        running = self.begin_along(start)
        for position, unit in self._units(start, sorted(ends, reverse=not self.forward)[-1], along=True):
            if running is not None and not self._pass(running, unit):
                running = None
            if position in ends:
                at_end = self._measured(position)
                yield position, None if running is None or at_end is None else self._compare(running, at_end)

    def against(self, end: int, starts: Sequence[int]) -> Iterator[tuple[int, Residual | None]]:
        """Yield the residual of the span from each of `starts` to `end`, the nearest first."""
        value = self._measured(end)
        running = None
        if value is not None:
            running = Against(value.detach().double(), self.tensors.norms, self.tensors.size(value))
        for position, unit in self._units(end, sorted(starts, reverse=self.forward)[-1], along=False):
            if running is not None and not self._pass(running, unit):
                running = None
            if position in starts:
                at_start = self._measured(position)
                yield (
                    position,
                    None if running is None or at_start is None else self._compare(running, at_start),
                )

    def begin_along(self, start: int, *, follow: bool = True) -> Along | None:
        """Return what grows a span from a position; None if nothing was measured there.

        Args:
            start: the position.
            follow: whether it is to know how large each term is in the end.
        """
        value = self._measured(start)
        if value is None:
            return None
        return Along(
            value.detach().double(), self.tensors.norms, self.tensors.size(value), follow and self._varies
        )

    def multiplies(self) -> bool:
        """Whether every unit of the chain acts element by element, so that `against` can be had."""
        units = range(self.chain.first, self.chain.end)
        return all(
            carry is not None and carry.factor is not None
            for unit in units
            for carry in (self.before(unit), self.after(unit))
        )

    def carried_back(self, end: int, first: int) -> CarriedBack | None:
        """Return what the shortcuts alone make of ∂E/∂x_L on the way from position `end` to `first`.

        None if it cannot be told, or nothing was measured at `end`.
        """
        arriving = self._measured(end)
        if arriving is None:
            return None
        value = arriving.detach().double()
        found = CarriedBack([], [])
        for unit in range(end - 1, first - 1, -1):
            mask, shortcut = self._mask(unit), self._gradient_of_shortcut(unit)
            if mask is None or shortcut is None:
                return None
            found.totals.insert(0, mask(value.clone()))
            value = shortcut(found.totals[0].clone())
            found.forks.insert(0, value)
        return found

    def before(self, unit: int) -> Carry | None:
        """Return what a unit does to the value before its branch's term is added; None if unknown."""
        if self.forward:
            return self._shortcut(unit)
        mask, shortcut = self._mask(unit), self._gradient_of_shortcut(unit)
        if mask is None or shortcut is None or not self.variant.masks:
            return shortcut if mask is not None else None
        if shortcut.factor is not None and mask.factor is not None:
            return Carry(mask.factor * shortcut.factor, None, shortcut.gain, shortcut.roundings)
        return Carry(None, lambda value: shortcut(mask(value)), shortcut.gain, shortcut.roundings)

    def after(self, unit: int) -> Carry | None:
        """Return what a unit does to the value when its branch's term has been added."""
        return self._mask(unit) if self.forward else UNCHANGED

    @cached_property
    def roundings(self) -> float:
        """How many roundings the shortcut of a unit of the chain takes, at most."""
        return max((carry.roundings for carry in self._shortcuts if carry), default=0.0)

    @cached_property
    def unknown(self) -> bool:
        """Whether what some unit's shortcut does on the way cannot be told."""
        return None in self._shortcuts

    @cached_property
    def _varies(self) -> bool:
        """Whether some unit does more to the value than multiply it by one number."""
        return not all(
            carry is None or carry.constant
            for unit in range(self.chain.first, self.chain.end)
            for carry in (self.before(unit), self.after(unit))
        )

    def _compare(self, running: Along | Against, measured: Tensor) -> Residual:
        return running.compare(measured.detach().double(), self.tensors.size(measured))

    def _pass(self, running: Along | Against, unit: int) -> bool:
        """Let a unit act on the running value; return whether all that takes was there."""
        before, after, term = self.before(unit), self.after(unit), self._term(unit)
        if before is None or after is None or term is None:
            return False
        size, beside = self.tensors.size(term), self._beside(unit)
        if beside is None:
            return False
        wide = term.detach().double()
        if isinstance(running, Along):
            running.carry(before)
            running.add(wide, size, beside, after)
        else:
            running.add(wide, size, beside, after)
            running.carry(before)
        return True

    def _units(self, start: int, last: int, *, along: bool) -> Iterator[tuple[int, int]]:
        """Yield each unit on the way from one position to another, with the position behind it."""
        if self.forward == along:
            yield from ((unit + 1, unit) for unit in range(start, last))
        else:
            yield from ((unit, unit) for unit in range(start - 1, last - 1, -1))

    def _measured(self, position: int) -> Tensor | None:
        capture = self.tensors.capture
        port = self._port(position)
        return (capture.values if self.forward else capture.gradients).get(port)

    def _port(self, position: int) -> Port:
        units = self.tensors.capture.units
        return units[self.chain.last].out if position == self.chain.end else units[position].fork

    def _term(self, unit: int) -> Tensor | None:
        capture = self.tensors.capture
        return capture.branches[unit] if self.forward else capture.branch_parts[unit]

    def _beside(self, unit: int) -> Sizes | None:
        """Return the norm of what the unit's term is added to."""
        if self.forward:
            found = self.tensors.capture.shortcuts[unit] if self.variant.shortcuts else None
            found = self._measured(unit) if found is None else found
        else:
            found = self._measured(unit + 1)
        return None if found is None else self.tensors.size(found)

    def _mask(self, unit: int) -> Carry | None:
        if not self.variant.masks:
            return UNCHANGED
        mask = self.tensors.mask(unit)
        return None if mask is None else Carry(mask)

    @cached_property
    def _shortcuts(self) -> list[Carry | None]:
        one = self._shortcut if self.forward else self._gradient_of_shortcut
        return [one(unit) for unit in range(self.chain.first, self.chain.end)]

    def _shortcut(self, unit: int) -> Carry | None:
        """Return h with all else held."""
        if not self.variant.shortcuts:
            return UNCHANGED
        held = self.tensors.held(unit)
        return None if held is None else Carry(held.factor, held, held.gain, held.roundings)

    def _gradient_of_shortcut(self, unit: int) -> Carry | None:
        """Return h′ transposed: with a gate, its own derivative is part of it."""
        if not self.variant.shortcuts:
            return UNCHANGED
        held = self.tensors.held(unit)
        if held is not None and held.factor is not None and not held.gated:
            return Carry(held.factor, None, held.gain, held.roundings)
        adjoint = self.tensors.adjoint(unit)
        if adjoint is None:
            return None
        return Carry(None, adjoint, 1.0 if held is None else held.gain, adjoint.roundings)
