"""The ratios over the training, by depth."""

from __future__ import annotations

import pandas as pd
from common.colours import colour_of, variant_style
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.plots import figure_style
from gradflow.plots.axes import legend, new_figure
from gradflow.plots.style import MUTED
from gradflow.statistics import aggregate

_TITLES = {"identity": "identity units", "transition": "transition units"}


def draw_ratios(found: pd.DataFrame) -> Figure:
    """Draw the median ratio of identity and of transition units against the iteration.

    Args:
        found: `runs.ratios`.
    """
    means = aggregate(found.assign(batch_index=0), list(_TITLES), by=("layers",))
    with figure_style():
        figure, axes = new_figure(3.4, 1, 2, sharex=True)
        for one, (column, title) in zip(axes[0], _TITLES.items(), strict=True):
            for index, (layers, part) in enumerate(means.groupby("layers")):
                at, median = (part[name].to_numpy(float) for name in ("iteration", column))
                colour = colour_of("preact")
                style = variant_style(index) | {"color": colour, "markersize": 4, "label": layers}
                one.plot(at, median, **style)
                low, high = (part[f"{column}_{end}"].to_numpy(float) for end in ("low", "high"))
                one.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
            one.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
            one.xaxis.set_major_locator(MaxNLocator(integer=True))
            one.set_title(title)
            one.set_xlabel("training iteration")
            one.legend(title="layers", fontsize=7.5, handlelength=3.2)
        axes[0, 0].set_ylabel("median ‖gₗ‖ / ‖gₗ₊₁‖  (ratio)")
        legend(figure, "What a unit multiplies the gradient by while networks train")
    return figure
