"""Figure of comparisons: how much larger a quantity is in one run than in another, unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.comparison import NAMES, Comparison
from gradflow.plots.axes import UNIT_AXIS, legend, mark_bands, new_figure, stage_bounds
from gradflow.plots.lines import draw_values
from gradflow.plots.style import MUTED, figure_style, network_colour, use_log_axis


@dataclass(frozen=True)
class Compared:
    """A comparison to draw.

    Attributes:
        comparison: of a run with another one.
        label: the run's name.
        index: its number among the runs, which gives its colour.
        baseline: the other run's name.
    """

    comparison: Comparison
    label: str
    index: int
    baseline: str


def plot_changes(compared: Sequence[Compared]) -> Figure:
    """Draw the change of each run against its baseline by unit, with its band, and the line of no change.

    Args:
        compared: at least one, all of one quantity.
    """
    first = compared[0].comparison
    with figure_style():
        figure, axes = new_figure(3.6)
        one = axes[0, 0]
        deepest = max(compared, key=lambda each: len(each.comparison.units)).comparison.units
        mark_bands(one, stage_bounds(deepest))
        ends = []
        for each in compared:
            units = each.comparison.units
            unit = units["unit"].to_numpy(float)
            change, low, high = (units[name].to_numpy(float) for name in ("change", "low", "high"))
            colour = network_colour(each.index)
            draw_values(one, unit, change, low, high, color=colour, marker=".")
            ends += [change, low, high]
        one.axhline(1.0 if first.geometric else 0.0, color=MUTED, linewidth=0.9, zorder=1)
        if first.geometric:
            use_log_axis(one, np.concatenate([*ends, np.ones(1)]))
        one.set_ylabel(f"{NAMES[first.quantity]}\n{'ratio' if first.geometric else 'difference'}")
        first_unit, last = int(deepest["unit"].min()), int(deepest["unit"].max())
        around = 0.5 + 0.01 * (last - first_unit)
        one.set_xlim(first_unit - around, last + around)
        one.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
        one.set_xlabel(UNIT_AXIS)
        of_one = len({each.baseline for each in compared}) == 1
        styles = [
            (
                each.label if of_one else f"{each.label} against {each.baseline}",
                {"color": network_colour(each.index), "marker": "."},
            )
            for each in compared
        ] + [("no change", {"color": MUTED, "linewidth": 0.9})]
        title = f"Against {compared[0].baseline}" if of_one else "Each against a run that was measured alike"
        legend(figure, title, styles=styles)
    return figure
