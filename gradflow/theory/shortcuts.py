"""What of a gradient comes back through k shortcuts alone (He et al. 2016, arXiv:1603.05027, eq. 8)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def scaled_gain(units: Array, scale: float) -> Array:
    """Return λ^k: Π λ_i over k units of one constant scale.

    Args:
        units: k.
        scale: λ.
    """
    return scale**units


def gated_gain(units: Array, bias: float) -> Array:
    """Return (1 − σ(b_g))^k, what gates let through whose weights are still near 0.

    Args:
        units: k.
        bias: b_g, where the gates' biases start.
    """
    return scaled_gain(units, 1 / (1 + math.exp(bias)))


def dropout_gain(units: Array, probability: float, *, rescaled: bool) -> Array:
    """Return the root mean square of what k independent dropout masks let through.

    An element survives k masks with probability (1 − p)^k, so unscaled (the paper's) it is (1 − p)^(k/2)
    and its mean (1 − p)^k. Rescaled by 1 / (1 − p) each time, as torch does, the mean is 1 and the root
    mean square (1 − p)^(−k/2): 2^(k/2) at p = ½.

    Args:
        units: k.
        probability: p, of an element to be dropped.
        rescaled: whether what is kept is divided by 1 − p.
    """
    return (1 - probability) ** (-units / 2 if rescaled else units / 2)
