"""The equations of He et al. 2016 (arXiv:1603.05027) as statements about arrays.

Forward (eq. 3 and 4) and backward (eq. 5) have one shape: what is at one end of a span of
units equals what is at the other end plus the sum of what the branches added in between.

    x_L = x_l + Σ_{i=l}^{L−1} F(x_i)                      eq. 4; eq. 3 is L = l + 1
    ∂E/∂x_l = ∂E/∂x_L + Σ_{i=l}^{L−1} (∂F_i/∂x_i)ᵀ ∂E/∂x_{i+1}     eq. 5, telescoped
    ∂E/∂x_l = ∂E/∂x_L + (∂/∂x_l Σ_{i=l}^{L−1} F(x_i))ᵀ ∂E/∂x_L     eq. 5 as the paper writes it
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Form = Literal["forward", "telescoped", "vjp"]


@dataclass(frozen=True)
class Equation:
    """One equation in one form that a machine can check."""

    number: str
    form: Form
    formula: str
    meaning: str


EQUATIONS = (
    Equation("3", "forward", "x_{l+1} = x_l + F(x_l)", "one unit"),
    Equation("4", "forward", "x_L = x_l + Σ_{i=l}^{L−1} F(x_i)", "the signal of a span"),
    Equation(
        "5",
        "telescoped",
        "∂E/∂x_l = ∂E/∂x_L + Σ_{i=l}^{L−1} (∂F_i/∂x_i)ᵀ ∂E/∂x_{i+1}",
        "the gradient of a span, by the branch parts that were measured",
    ),
    Equation(
        "5",
        "vjp",
        "∂E/∂x_l = ∂E/∂x_L (1 + ∂/∂x_l Σ_{i=l}^{L−1} F(x_i))",
        "the gradient of a span, by one vector-Jacobian product of ΣF",
    ),
)

NUMBERS = tuple(dict.fromkeys(equation.number for equation in EQUATIONS))
"""The numbers that can be asked for."""


@dataclass(frozen=True)
class Residual:
    """How far a statement is off, and what that has to be compared with.

    Attributes:
        norm: ‖left − right‖; not finite if a term is not.
        scale: Σ (‖x_i‖ + ‖F_i‖) of the terms that enter (backward: of gradients and parts).
        smallest: the smallest ‖F_i‖ among them.
    """

    norm: float
    scale: float
    smallest: float

    @property
    def error(self) -> float | None:
        """‖residual‖ / scale; None if it is not finite. Nothing compared with nothing is 0."""
        if not (math.isfinite(self.norm) and math.isfinite(self.scale)):
            return None
        return self.norm / self.scale if self.scale > 0 else (0.0 if self.norm == 0 else None)

    def detectable(self, tolerance: float) -> float | None:
        """Return the smallest relative change of any one branch term that leaves the tolerance."""
        if self.error is None or self.smallest == 0:
            return None
        return tolerance * self.scale / self.smallest


class RunningSum:
    """Grows a span unit by unit, so that all spans from one end cost one addition each.

    Args:
        start: x_l (backward: ∂E/∂x_L), a flat array.
    """

    def __init__(self, start: Array) -> None:
        self._start = start
        self._sum = np.zeros_like(start)
        self._buffer = np.empty_like(start)
        self._scale = 0.0
        self._smallest = math.inf

    def add(self, term: Array, beside: Array) -> None:
        """Extend the span by one unit: its branch's `term`, and the value `beside` it."""
        with np.errstate(all="ignore"):  # what is not finite is found in the norms
            self._sum += term
        size = norm(term)
        self._scale += size + norm(beside)
        self._smallest = min(self._smallest, size)

    def compare(self, end: Array) -> Residual:
        """Return the residual of ``end = start + Σ terms``."""
        with np.errstate(all="ignore"):
            np.subtract(end, self._start, out=self._buffer)
            self._buffer -= self._sum
        return Residual(norm(self._buffer), self._scale, self._smallest)


def norm(array: Array) -> float:
    """Return the Euclidean norm of a flat array."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(np.dot(array, array)))
