"""The two ways in which a span's statement is evaluated.

Every equation here has one shape. Along a span a value v goes from unit to unit, forward from x_l
to x_L or backward from ∂E/∂x_L to ∂E/∂x_l; each unit carries it on and adds its branch's term,

    v ← after(before(v) + term)

and in the end v must be what was measured there. In eq. 4 and 5 nothing is done before and after;
in eq. 6 to 8 a unit's shortcut is; with f = ReLU its mask. `Along` does this for all spans that
begin at one place. `Against` multiplies out the factors instead and so does all spans that end at
one place; it takes maps that multiply element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gradflow.equations.operations import Factor
from gradflow.equations.residuals import Norms, Residual, Sizes


@dataclass(frozen=True, eq=False)
class Carry:
    """What a unit does to a value that goes through it.

    Attributes:
        factor: what it multiplies each element by; None if it does anything else.
        apply: what it does where `factor` is None; its result is the caller's to change.
        gain: how much a rounding error of random sign grows by it, at least.
        roundings: how many roundings of one element it takes.
    """

    factor: Factor | None = 1.0
    apply: Callable[[Tensor], Tensor] | None = None
    gain: float = 1.0
    roundings: float = 0.0

    @property
    def constant(self) -> bool:
        """Whether it multiplies all elements by one number, and so all norms."""
        return isinstance(self.factor, float)

    def change(self, change: Tensor) -> Tensor:
        """Return what becomes of a change of the value, which may be changed in place.

        Where the carry is affine, as a normalisation with its statistics held is, its shift is no part of it.
        """
        if self.factor is not None:
            return self(change)
        shift = self(torch.zeros_like(change))
        return self(change).sub_(shift)

    def __call__(self, value: Tensor) -> Tensor:
        """Return what becomes of `value`, which may be changed in place."""
        if self.factor is None:
            assert self.apply is not None, "a carry is a factor or a function"
            return self.apply(value)
        return value if _is_one(self.factor) else value.mul_(self.factor)


UNCHANGED = Carry()


def multiplied(first: Factor, second: Factor) -> Factor:
    """Return the product of two factors."""
    return second if _is_one(first) else first if _is_one(second) else first * second


def _is_one(factor: Factor) -> bool:
    return isinstance(factor, float) and factor == 1.0


@dataclass(eq=False)
class Along:
    """Grows a span from where the value comes from, unit by unit.

    Args:
        value: v at the start; a copy is made.
        norms: takes the norms.
        size: ‖v‖ at the start.
        varying: whether some carry is no multiplication by one number. Norms do not tell then how large
            a term is in the end, for a mask may take all of it or nothing: each one is carried along.
    """

    value: Tensor
    norms: Norms
    size: Sizes
    varying: bool = False
    scale: Sizes = field(default_factory=lambda: np.zeros(1))
    smallest: Sizes = field(init=False)
    _terms: list[Tensor] = field(default_factory=list)
    _difference: Tensor | None = None

    def __post_init__(self) -> None:
        self.value = self.value.clone()
        self.smallest = self.size
        if self.varying:
            self._terms.append(self.value.clone())

    def carry(self, before: Carry) -> None:
        """Let the unit's shortcut act on the value."""
        if before.factor is None:
            size = self.norms(self.value)
            self.value = before(self.value)
            with np.errstate(divide="ignore", invalid="ignore"):
                measured = np.where(size > 0, self.norms(self.value) / size, 0.0)
            gain: Sizes | float = np.maximum(before.gain, measured)
        else:
            self.value = before(self.value)
            gain = before.gain
        with np.errstate(all="ignore"):  # what is not finite is found in the norms
            self.scale, self.smallest = self.scale * gain, self.smallest * gain
        self._terms = [before.change(term) for term in self._terms]

    def add(self, term: Tensor, size: Sizes, beside: Sizes, after: Carry = UNCHANGED) -> None:
        """Add the branch's `term` of norm `size` to the value, which measured `beside`."""
        self.value.add_(term)
        self.scale = self.scale + size + beside
        self.smallest = np.minimum(self.smallest, size)
        self.value = after(self.value)
        if self.varying:
            self._terms = [after.change(kept) for kept in [*self._terms, term.clone()]]

    def weigh(self) -> Sizes:
        """Count the value itself as a term, where none is added to it; return its norm."""
        size = self.norms(self.value)
        self.scale = self.scale + size
        return size

    def compare(self, end: Tensor, size: Sizes) -> Residual:
        """Return the residual of ``end = v``, where ‖end‖ is `size`."""
        if self._difference is None or self._difference.shape != end.shape:
            self._difference = torch.empty_like(end)
        torch.sub(end, self.value, out=self._difference)
        smallest = self.smallest
        if self.varying:
            smallest = np.min([self.norms(term) for term in self._terms], axis=0)
        return Residual(self.norms(self._difference), self.scale, np.minimum(smallest, size))


@dataclass(eq=False)
class Against:
    """Grows a span from where the value arrives, against its way, by products of factors.

    Args:
        value: v at the end; a copy is made.
        norms: takes the norms.
        size: ‖v‖ at the end.
    """

    value: Tensor
    norms: Norms
    size: Sizes
    factor: Factor = 1.0
    scale: Sizes = field(default_factory=lambda: np.zeros(1))
    smallest: Sizes = field(init=False)
    _difference: Tensor | None = None

    def __post_init__(self) -> None:
        self.value = self.value.clone()
        self.smallest = self.size
        self._difference = torch.empty_like(self.value)

    def add(self, term: Tensor, size: Sizes, beside: Sizes, after: Carry) -> None:
        """Take off the branch's `term`, as the units that were passed before carry it."""
        assert after.factor is not None, "only what acts element by element can be multiplied out"
        self.factor = multiplied(self.factor, after.factor)
        if isinstance(self.factor, Tensor):
            assert self._difference is not None
            weighted = torch.mul(term, self.factor, out=self._difference)
            self.value.sub_(weighted)
            gain = float(self.factor.square().mean().sqrt())
            size = self.norms(weighted)
        else:
            self.value.sub_(term, alpha=self.factor)
            gain = abs(self.factor)
            size = size * gain
        self.scale = self.scale + size + beside * gain
        self.smallest = np.minimum(self.smallest, size)

    def carry(self, before: Carry) -> None:
        """Multiply by the unit's shortcut."""
        assert before.factor is not None, "only what acts element by element can be multiplied out"
        self.factor = multiplied(self.factor, before.factor)

    def compare(self, start: Tensor, size: Sizes) -> Residual:
        """Return the residual of ``v − Σ terms = Π factors · start``, where ‖start‖ is `size`."""
        assert self._difference is not None
        if _is_one(self.factor):
            torch.sub(self.value, start, out=self._difference)
        else:
            torch.mul(start, self.factor, out=self._difference)
            size = size * abs(self.factor) if isinstance(self.factor, float) else self.norms(self._difference)
            torch.sub(self.value, self._difference, out=self._difference)
        return Residual(self.norms(self._difference), self.scale, np.minimum(self.smallest, size))
