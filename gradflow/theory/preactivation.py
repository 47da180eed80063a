"""What should be seen in untrained networks with BN and ReLU: growth, branch shares, exponents.

Notation: K convolutions a unit; a = n_in / n_out of its last convolution; r = π / (π − 1), the second
moment over the variance of a rectified standard normal variable. With fan-out He initialisation and
BN before every ReLU,

- forward, a branch adds a to the second moment E[y²] of a channel, and a / r to its variance v;
- backward, of the gradient's energy ‖g‖² a branch hands on a r^(K−1) / v, on top of the shortcut's
  whole ‖g‖²: each convolution but the last is followed by a BN that divides by its own variance;
- a plain network's BNs do so after every convolution: ‖g‖² grows by r a convolution.

De & Smith 2020 (arXiv:2002.10444) have the branch share; the rest is the usual mean-field argument
(cf. Yang et al. 2019, arXiv:1902.08129, for plain networks). It is for infinite width, without regard to
zero padding, and with BN's statistics taken for constants in the backward pass (`frozen`). What zero
padding changes in it is worked out here, too (`UnitKind.taps`, `UnitKind.ratios`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

R = math.pi / (math.pi - 1)
"""E[z₊²] / Var(z₊) of a standard normal z."""

_IMAGE_SIZE = 32

Array = NDArray[np.float64]


def branch_share(units: Array, *, gain: float = 1.0, start: float = 1.0) -> Array:
    """Return a / (v_0 + a l), the share Var(F) / Var(x_{l+1}) of a branch that begins with BN.

    De & Smith 2020 (arXiv:2002.10444): every branch has the same variance, so signals grow linearly
    and later branches weigh less; 1 / (l + 1) where every branch adds 1 to a start of 1.

    Args:
        units: l, how many units of the stage the signal has passed, this one included.
        gain: a, what a branch adds to the variance.
        start: v_0, the variance before the first of these units.
    """
    return gain / (start + gain * units)


@dataclass(frozen=True)
class UnitKind:
    """What the predictions need to know of a residual unit.

    Attributes:
        kernels: width of each of its K convolutions.
        gain: a, fan-in over fan-out of the last one.
        first_start: E[y²] after the first unit of the first stage.
        later_start: E[y²] after the first unit of a later stage.
    """

    kernels: tuple[int, ...]
    gain: float
    first_start: float
    later_start: float

    @property
    def convolutions(self) -> int:
        """K."""
        return len(self.kernels)

    def taps(self, stage: int) -> Array:
        """Return for each convolution the share p of its taps that do not fall on zero padding.

        On maps of H × H pixels, 3H − 2 of the 3H taps of a row or column stay inside.
        """
        size = _IMAGE_SIZE >> stage
        inside = ((3 * size - 2) / (3 * size)) ** 2
        return np.array([inside if kernel == 3 else 1.0 for kernel in self.kernels])

    def ratios(self, stage: int) -> Array:
        """Return for each convolution what r becomes with zero padding: r_p = 1 / (1 − p / π).

        Of the inputs of its taps a share 1 − p is zero, which multiplies second moments and what
        goes backward by p, and the mean by p too, the square of which the variance lacks:
        p / 2 − p² / 2π. So a BN behind it divides by less than p times what it would divide by.
        """
        return np.asarray(1 / (1 - self.taps(stage) / math.pi))

    def padded_gain(self, stage: int) -> float:
        """Return what a branch adds to E[y²], padding counted."""
        return float(self.gain * self.taps(stage)[-1])

    def padded_variance_gain(self, stage: int) -> float:
        """Return what a branch adds to v, padding counted."""
        return self.padded_gain(stage) / float(self.ratios(stage)[-1])

    def padded_plain_growth(self, stage: int) -> float:
        """Return the growth of ‖g‖ in K convolutions without a shortcut, padding counted."""
        return float(np.sqrt(self.ratios(stage).prod()))

    def start(self, stage: int) -> float:
        """Return v_0 of De & Smith's share: E[y²] after the first unit of a stage."""
        return self.later_start if stage else self.first_start

    @property
    def variance_gain(self) -> float:
        """a / r, what a unit adds to the variance of a channel."""
        return self.gain / R

    @property
    def exponent(self) -> float:
        """r^K in ‖g_l‖² / ‖g_L‖² ≈ (v_L / v_l)^(r^K)."""
        return float(R**self.convolutions)

    @property
    def plain_growth(self) -> float:
        """Growth of ‖g‖ in K convolutions without a shortcut."""
        return float(R ** (self.convolutions / 2))

    def branch_share(self, passed: Array, stage: int) -> Array:
        """Return the share of Var(F) in Var(y) after l more units of a stage."""
        return branch_share(passed, gain=self.gain, start=self.start(stage))

    def energy_gains(self, variance: Array, stage: int, *, padding: bool) -> Array:
        """Return ‖g_l‖² / ‖g_{l+1}‖² = 1 + a r^(K−1) / v_l, unit by unit.

        Args:
            variance: v_l; where channels differ, their harmonic mean, since each divides by its own.
            stage: 0, 1 or 2.
            padding: whether zero padding counts.
        """
        if padding:
            handed_on = self.padded_gain(stage) * float(self.ratios(stage)[:-1].prod())
        else:
            handed_on = self.gain * R ** (self.convolutions - 1)
        return 1 + handed_on / variance


UNIT_KINDS = {
    # A first unit's input is a rectified normal variable: ½. Zero padding to twice the channels halves
    # that; a projection turns it into its own fan-in over fan-out, 16/64 and then 1/2.
    "basic": UnitKind(kernels=(3, 3), gain=1.0, first_start=1.5, later_start=1.25),
    "bottleneck": UnitKind(kernels=(1, 3, 1), gain=0.25, first_start=0.5, later_start=0.75),
}
