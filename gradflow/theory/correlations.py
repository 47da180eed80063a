"""How alike the gradients of two inputs are at initialisation (Balduzzi et al. 2017, arXiv:1702.08591).

Inputs are taken to be uncorrelated: each rectifier is on for half of them and for both of a pair in a
quarter of all cases. A network whose gradients are not alike from input to input (white noise) is hard
to train.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CO_ACTIVE = 0.25
"""Share of (pair of inputs, rectifier) in which both are on, which the predictions take for granted."""


def plain(layers: Array) -> Array:
    """Return 2^−L, the gradients' correlation in a plain network of L rectified layers."""
    return 0.5**layers


def residual(layers: Array) -> Array:
    """Return (3/4)^L, the same in a residual network without BN."""
    return 0.75**layers


def normalised_residual(layers: Array, scale: float = 1.0) -> Array:
    """Return 1 / (β √L), the same with BN at the head of each branch; for β² L well above 1.

    Args:
        layers: L.
        scale: β, the factor on every branch.
    """
    return 1 / (scale * np.sqrt(layers))
