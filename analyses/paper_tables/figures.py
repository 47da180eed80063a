"""Every case of a table side by side: gradient norm by depth, and the shares of shortcut and branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from common.colours import colour_of, variant_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import PercentFormatter

from gradflow.plots import figure_style
from gradflow.plots.axes import legend, mark_bands, new_figure, stage_bounds
from gradflow.plots.style import MUTED, use_log_axis
from paper_tables.cases import Case

_DECADES_DRAWN = 8
"""The plain network's gradients span more decades than the others' differences can be seen beside."""


def draw_figures(cases: Sequence[Case], units: pd.DataFrame) -> dict[str, Figure]:
    """Return the figures by name."""
    return {"gradients": draw_gradients(cases, units), "shares": draw_shares(cases, units)}


def draw_gradients(cases: Sequence[Case], units: pd.DataFrame) -> Figure:
    """Draw ‖∂E/∂x_l‖ over the last unit's, a panel a group of cases, the original in each.

    Args:
        cases: of one table.
        units: `summary.summarise_units`.
    """
    panels = _panels(cases)
    rows = -(-len(panels) // 2)
    with figure_style():
        figure, axes = new_figure(0.9 + 2.7 * rows, rows, 2)
        flat = list(axes.flat)
        for one, (title, members) in zip(flat, panels.items(), strict=False):
            drawn = units[units["case"].isin([case.name for case in members])]
            values = drawn["relative_gain"].to_numpy(float)
            bottom = max(float(np.nanmin(values)), 1e-12)
            top = min(float(np.nanmax(values)), bottom * 10.0**_DECADES_DRAWN)
            for number, case in enumerate(members):
                _draw(one, drawn[drawn["case"] == case.name], "relative_gain", case, number)
            use_log_axis(one, values[values <= top])
            _finish(one, drawn, title)
            one.set_ylabel("‖∂E/∂xₗ‖ / last unit's  (ratio)")
            _typeset(one.legend(fontsize=7.5, loc="upper right", bbox_to_anchor=(1.0, 0.92), borderaxespad=0))
        for spare in flat[len(panels) :]:
            spare.set_visible(False)
        styles = [("mean over seeds, with its 95 % interval", {})]
        legend(figure, f"Table {cases[0].table} at initialisation: gradient norm by depth", styles=styles)
    return figure


def draw_shares(cases: Sequence[Case], units: pd.DataFrame) -> Figure:
    """Draw the shortcut's share of the gradient's energy and the branch's of the signal's, by unit."""
    panels = _panels(cases)
    with figure_style():
        figure, axes = new_figure(0.9 + 2.3 * len(panels), len(panels), 2)
        for row, (title, members) in zip(axes, panels.items(), strict=True):
            drawn = units[units["case"].isin([case.name for case in members])]
            for one, column, name in (
                (row[0], "backward_shortcut_share", f"{title}: backward"),
                (row[1], "forward_branch_share", "forward"),
            ):
                for number, case in enumerate(members):
                    _draw(one, drawn[drawn["case"] == case.name], column, case, number)
                _finish(one, drawn, name)
                one.set_ylim(-0.03, 1.12)
                one.yaxis.set_major_formatter(PercentFormatter(1.0))
            row[0].set_ylabel("shortcut's share of ‖gradient‖²")
            row[1].set_ylabel("branch's share of ‖signal‖²")
            _typeset(row[1].legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0)))
        styles = [("mean over seeds, with its 95 % interval", {})]
        legend(figure, f"Table {cases[0].table} at initialisation: the two ways", styles=styles)
    return figure


def _typeset(legend: Legend) -> None:
    for text in legend.get_texts():
        text.set_parse_math(True)


def _panels(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return the cases to draw together, by title; in Table 1 the original stands in each."""
    if cases[0].table == 2:
        models = dict.fromkeys(case.model for case in cases)
        return {model: [case for case in cases if case.model == model] for model in models}
    groups = {"constant scale": ("scale", "none"), "exclusive gate": ("gate:exclusive",)}
    groups |= {"shortcut-only gate": ("gate:shortcut",), "convolution, dropout": ("conv", "dropout")}
    original = cases[0]
    return {
        title: [original, *(case for case in cases if case.shortcut.startswith(kinds))]
        for title, kinds in groups.items()
    }


def _draw(axes: Axes, part: pd.DataFrame, column: str, case: Case, number: int) -> None:
    if part[column].isna().all():
        return
    style = _style(case, number)
    unit = part["unit"].to_numpy(float)
    every = (2 * number, max(1, len(unit) // 6))
    axes.plot(unit, part[column].to_numpy(float), label=_label(case), markevery=every, **style)
    low, high = (part[f"{column}_{end}"].to_numpy(float) for end in ("low", "high"))
    axes.fill_between(unit, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _style(case: Case, number: int) -> dict[str, Any]:
    """Return the colour of the network that the case is, if it is one, else of a variant."""
    families = {"none": "plain", "full-preact": "preact", "identity": case.model, "original": case.model}
    family = families.get(case.activation or case.shortcut)
    style = variant_style(max(number - 1, 0)) | {"markersize": 3.2}
    return style | {"color": colour_of(family), "linestyle": "-", "marker": ""} if family else style


def _label(case: Case) -> str:
    """Return the case without its group, which the panel names, and the paper's error."""
    error = f"{case.error} %" if case.error[:1].isdigit() else case.error or "not in the paper"
    title = case.title.removeprefix("exclusive gate, ").removeprefix("shortcut-only gate, ")
    shown = f"{title}  ({error})".replace("(unscaled, as the paper's)", "unscaled").replace(
        "(rescaled, as torch's)", "rescaled"
    )
    return shown.replace("b_g", "$b_g$")


def _finish(axes: Axes, drawn: pd.DataFrame, title: str) -> None:
    first = drawn[drawn["case"] == drawn["case"].iloc[0]]
    mark_bands(axes, stage_bounds(first))
    if axes.get_yscale() == "log":
        axes.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
    axes.set_title(title)
    axes.set_xlabel("residual unit l")
