"""The shortcut path beside its prediction, and the whole gradient, by the number of units between."""

from __future__ import annotations

from typing import Any

import pandas as pd
from common.colours import colour_of, variant_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gains.measuring import CASES
from gradflow.plots import figure_style
from gradflow.plots.axes import legend, new_figure
from gradflow.plots.style import INK, MUTED, use_log_axis

_GROUPS = {
    "scale": "constant scale λ",
    "gate:exclusive": "exclusive gate",
    "gate:shortcut": "shortcut-only gate",
    "other": "convolution, dropout",
}
_PREDICTED: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.0}


def draw_powers(summary: pd.DataFrame, model: str) -> Figure:
    """Draw, a row a group of shortcuts, the shortcuts alone beside their prediction, and the whole gradient.

    Args:
        summary: `summary.summarise`; the first stage, which has the longest chain, is drawn.
        model: the network's name.
    """
    first = summary[summary["stage"] == summary["stage"].min()]
    with figure_style():
        figure, axes = new_figure(1.2 + 2.2 * len(_GROUPS), len(_GROUPS), 2, sharex=True)
        for row, (group, name) in zip(axes, _GROUPS.items(), strict=True):
            cases = [case for case in CASES if case.group == group]
            for index, case in enumerate(cases):
                part = first[first["shortcut"] == case.shortcut].sort_values("units_between")
                style = {"markersize": 3.5} | variant_style(index)
                if case.shortcut == "identity":  # the network itself, in its own colour
                    style |= {"color": colour_of(model), "linestyle": "-"}
                _draw(row[0], part, "blocked_gain", style)
                _draw(row[1], part, "whole_gain", style)
                if len(part):
                    row[1].plot([], [], label=_typeset(case.title), **style)
                row[0].plot(part["units_between"], part["predicted"], **_PREDICTED)
            for one, column in ((row[0], "blocked_gain"), (row[1], "whole_gain")):
                drawn = first[first["shortcut"].isin([case.shortcut for case in cases])]
                use_log_axis(one, drawn[[column]].to_numpy(float).ravel())
                one.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
                one.xaxis.set_major_locator(MaxNLocator(integer=True))
            row[0].set_title(f"{name}: shortcuts alone")
            row[1].set_title("whole gradient")
            row[0].set_ylabel(r"‖g‖ at $x_l$ / at $x_L$  (ratio)", parse_math=True)
            named = row[1].legend(fontsize=7.5, loc="upper left", handlelength=3.2)
            for text in named.get_texts():
                text.set_parse_math(True)
        for one in axes[-1]:
            one.set_xlabel("k = L − l, units between")
        styles = [("measured, 95 % interval over seeds", {}), ("predicted", _PREDICTED)]
        legend(figure, f"What comes back through k units of untrained {model}", styles=styles)
    return figure


def _draw(axes: Axes, part: pd.DataFrame, column: str, style: dict[str, Any]) -> None:
    k = part["units_between"].to_numpy(float)
    positive = part[column].where(part[column] > 0).to_numpy(float)
    axes.plot(k, positive, **style)
    low, high = (part[f"{column}_{end}"].to_numpy(float) for end in ("low", "high"))
    axes.fill_between(k, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _typeset(title: str) -> str:
    return title.replace("b_g", "$b_g$")
