"""The states of a stage, as the predictions count them, and the fits that are held against them.

Within a stage, depth is counted in states: state j is the signal after j of the stage's units, so that
state 1 is the first unit's (the transition's) output, and the last state the stage's end.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradflow.stage_ends import ending_at_additions

Array = NDArray[np.float64]


def stage_states(units: pd.DataFrame, *, before_activation: bool) -> pd.DataFrame:
    """Return one row a unit: the state behind it, `position` j in its stage, and its branch's share.

    Args:
        units: a record's units, of one pass.
        before_activation: whether a state is y_l (pre-activation networks, where nothing follows the
            addition) or x_{l+1} (others).

    Returns:
        `unit`, `stage`, `position`, `shortcut`, `energy` E[x²] over images, pixels and channels,
        `log_gradient` ln ‖∂E/∂x‖², `share` ‖F‖² / ‖y‖², `gain` ‖g_l‖ / ‖g_{l+1}‖ (at y_l where the
        next unit's activation follows), `cancellation_max` and `cancellation_min`.
    """
    signal, gradient = ("sum_norm", "grad_sum_norm") if before_activation else ("out_norm", "grad_out_norm")
    # A transition's x_l has another shape; every state of the stage has the last unit's.
    numel = units.groupby("stage")["numel"].transform("last")
    return pd.DataFrame(
        {
            "unit": units["unit"],
            "stage": units["stage"].astype(int),
            "position": units.groupby("stage").cumcount() + 1,
            "shortcut": units["shortcut"],
            "energy": units[signal] ** 2 / numel.astype(float),
            "log_gradient": 2 * np.log(units[gradient]),
            "share": units["branch_norm"] ** 2 / units["sum_norm"] ** 2,
            "gain": units["grad_in_norm"] / ending_at_additions(units)["grad_out_norm"],
            "cancellation_max": units["cancellation_max"],
            "cancellation_min": units["cancellation_min"],
        }
    )


def slope(x: Array, y: Array) -> float:
    """Return the slope of the line fitted by least squares."""
    centred = x - x.mean()
    return float(centred @ (y - y.mean()) / (centred @ centred))


def r_squared(x: Array, y: Array) -> float:
    """Return the share of the variance of `y` that a line in `x` explains."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)
