"""Residual networks without normalisation at initialisation: signals and gradients grow exponentially.

Each branch is one with He's initialisation, so that at scale 1 it adds as much to E[x²] as comes in, and
hands on as much of ‖g‖² as arrives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def signal_variance(units: Array, *, scale: float = 1.0) -> Array:
    """Return E[x_l²] / E[x_0²] = (1 + β²)^l; 2^l at β = 1 (De & Smith 2020, arXiv:2002.10444).

    Args:
        units: l.
        scale: β, the factor on every branch.
    """
    return (1 + scale**2) ** units


def gradient_energy(units: Array, *, scale: float = 1.0) -> Array:
    """Return ‖g_l‖² / ‖g_L‖² = (1 + β²)^(L−l) (Yang & Schoenholz 2017, arXiv:1712.08969).

    Args:
        units: L − l, units between.
        scale: β, the factor on every branch.
    """
    return (1 + scale**2) ** units


def scaled_signal(scales: Array) -> float:
    """Return E[x_L²] / E[x_0²] = Π (1 + η_l²) for branches scaled by η_l.

    Hanin & Rolnick 2018 (arXiv:1803.01719): its mean is bounded in depth if Σ η_l is finite.

    Args:
        scales: η_l of every unit.
    """
    return float(np.prod(1 + np.asarray(scales) ** 2))
