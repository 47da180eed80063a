"""The two ways in which a span's statement is evaluated, and what is left of it: the residual.

Every equation here has one shape. Along a span a value v goes from unit to unit, forward from x_l
to x_L or backward from ∂E/∂x_L to ∂E/∂x_l; each unit carries it on and adds its branch's term,

    v ← after(before(v) + term)

and in the end v must be what was measured there. In eq. 4 and 5 nothing is done before and after;
in eq. 6 to 8 a unit's shortcut is; with f = ReLU its mask. `Along` does this for all spans that
begin at one place. `Against` multiplies out the factors instead and so does all spans that end at
one place; it takes maps that multiply element by element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.equations.operations import Factor

Sizes = NDArray[np.float64]
"""Norms: one number, or one a sample."""


@dataclass(frozen=True)
class Norms:
    """Takes norms of tensors in float64: of the whole batch, or sample by sample."""

    per_sample: bool = False

    def __call__(self, value: Tensor) -> Sizes:
        """Return ‖value‖, shape (1,), or of each sample, shape (batch,)."""
        rows = value.flatten(1) if self.per_sample else value
        norm = torch.linalg.vector_norm(rows, dim=1 if self.per_sample else None)
        return np.atleast_1d(norm.cpu().numpy())


@dataclass(frozen=True)
class Residual:
    """How far a statement is off, and what that has to be compared with.

    Attributes:
        norm: ‖left − right‖, of the batch or of each sample; not finite if a term is not.
        scale: Σ of the norms of the terms that enter, as far as the shortcuts carry them.
        smallest: the smallest of the terms of which `detectable` tells how small a change is seen.
    """

    norm: Sizes
    scale: Sizes
    smallest: Sizes

    @property
    def finite(self) -> bool:
        """Whether every term is a number."""
        return bool(np.isfinite(self.norm).all() and np.isfinite(self.scale).all())

    @property
    def error(self) -> float | None:
        """The largest ‖residual‖ / scale, where nothing beside nothing is 0.

        None if a term is not finite, or something is left where every term is zero.
        """
        if not self.finite:
            return None
        empty = self.scale == 0
        if (self.norm[empty] > 0).any():
            return None
        return float(np.max(self.norm / np.where(empty, 1.0, self.scale)))

    def detectable(self, tolerance: float) -> float | None:
        """Return the smallest relative change of any one term that leaves the tolerance."""
        if self.error is None or not (np.isfinite(self.smallest).all() and (self.smallest > 0).all()):
            return None
        return float(np.max(tolerance * self.scale / self.smallest))


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
    """

    value: Tensor
    norms: Norms
    scale: Sizes = field(default_factory=lambda: np.zeros(1))
    smallest: Sizes = field(default_factory=lambda: np.full(1, math.inf))
    _difference: Tensor | None = None

    def __post_init__(self) -> None:
        self.value = self.value.clone()

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

    def add(self, term: Tensor, size: Sizes, beside: Sizes, after: Carry = UNCHANGED) -> None:
        """Add the branch's `term` of norm `size` to the value, which measured `beside`."""
        self.value.add_(term)
        self.scale = self.scale + size + beside
        self.smallest = np.minimum(self.smallest, size)
        self.value = after(self.value)

    def weigh(self) -> Sizes:
        """Count the value itself as a term, where none is added to it; return its norm."""
        size = self.norms(self.value)
        self.scale = self.scale + size
        return size

    def compare(self, end: Tensor) -> Residual:
        """Return the residual of ``end = v``."""
        if self._difference is None or self._difference.shape != end.shape:
            self._difference = torch.empty_like(end)
        torch.sub(end, self.value, out=self._difference)
        return Residual(self.norms(self._difference), self.scale, self.smallest)


@dataclass(eq=False)
class Against:
    """Grows a span from where the value arrives, against its way, by products of factors.

    Args:
        value: v at the end; a copy is made.
        norms: takes the norms.
    """

    value: Tensor
    norms: Norms
    factor: Factor = 1.0
    scale: Sizes = field(default_factory=lambda: np.zeros(1))
    smallest: Sizes = field(default_factory=lambda: np.full(1, math.inf))
    _difference: Tensor | None = None

    def __post_init__(self) -> None:
        self.value = self.value.clone()
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

    def compare(self, start: Tensor) -> Residual:
        """Return the residual of ``v − Σ terms = Π factors · start``."""
        assert self._difference is not None
        if _is_one(self.factor):
            torch.sub(self.value, start, out=self._difference)
        else:
            torch.mul(start, self.factor, out=self._difference)
            torch.sub(self.value, self._difference, out=self._difference)
        return Residual(self.norms(self._difference), self.scale, self.smallest)
