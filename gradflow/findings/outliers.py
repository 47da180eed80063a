"""Units in which the gradient changes unlike in most others."""

from __future__ import annotations

import numpy as np
import pandas as pd

GROWS, SHRINKS, BROKEN = "grows", "shrinks", "broken"

FENCE = 3.0
"""Interquartile ranges beyond the quartiles: Tukey's outer fence, beyond which a value is “far out”."""

LEAST_UNITS = 8
"""With fewer units quartiles say too little of what is usual."""


def find_outliers(units: pd.DataFrame) -> pd.Series:
    """Return what stands out in each unit.

    A unit stands out by the logarithm of its ‖∂E/∂x_l‖ / ‖∂E/∂x_{l+1}‖, held against those of all units of
    the same network; what is large depends on the network, so there is no absolute threshold.

    Args:
        units: one row a unit, with `grad_in_norm` and `grad_out_norm`.

    Returns:
        Of the same index: `GROWS` or `SHRINKS` (towards the input, far more than in most units), `BROKEN`
        (the gradient at the unit's input is 0 or not finite), or an empty text.
    """
    arriving, handed_on = (units[name].to_numpy(float) for name in ("grad_out_norm", "grad_in_norm"))
    marks = np.full(len(units), "", dtype=object)
    both = np.isfinite(arriving) & np.isfinite(handed_on) & (arriving > 0) & (handed_on > 0)
    gains = np.log(np.where(both, handed_on, 1.0) / np.where(both, arriving, 1.0))
    if both.sum() >= LEAST_UNITS:
        low, high = np.quantile(gains[both], (0.25, 0.75))
        reach = FENCE * (high - low)
        marks[both & (gains > high + reach)] = GROWS
        marks[both & (gains < low - reach)] = SHRINKS
    marks[~(np.isfinite(handed_on) & (handed_on > 0))] = BROKEN
    return pd.Series(marks, index=units.index)
