"""A line with the band of its interval, which nearly every figure is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

BAND_ALPHA = 0.18


def draw_values(
    axes: Axes,
    x: ArrayLike,
    values: ArrayLike,
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    **style: Any,
) -> None:
    """Draw `values` over `x`, and the band from `low` to `high` where it is finite.

    A value that is null or infinite interrupts the line: a line through a gap would say what nobody
    measured.

    Args:
        axes: where.
        x: positions, in the order in which they are joined.
        values: as many.
        low: lower ends of their intervals.
        high: upper ends.
        style: of the line, as matplotlib names it; the band has its colour.
    """
    across, drawn = np.asarray(x, float), np.asarray(values, float)
    known = np.isfinite(drawn)
    if known.any():
        # seaborn leaves nulls out and joins what is left, so each stretch between nulls is a line of its own.
        stretches = np.cumsum(~known)[known]
        edge = {"markeredgecolor": style["color"], "markeredgewidth": 1.0}
        sns.lineplot(
            x=across[known],
            y=drawn[known],
            units=stretches,
            estimator=None,
            errorbar=None,
            sort=False,
            legend=False,
            ax=axes,
            **(edge | style),
        )
    if low is None or high is None:
        return
    lower, upper = np.asarray(low, float), np.asarray(high, float)
    if np.isfinite(lower).any():
        axes.fill_between(across, lower, upper, color=style["color"], alpha=BAND_ALPHA, linewidth=0)
