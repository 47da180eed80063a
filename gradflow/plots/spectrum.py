"""The figure of the singular values of Jacobians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.plots.axes import label_units, legend, mark_stages, new_figure
from gradflow.plots.lines import draw_values
from gradflow.plots.network import Network
from gradflow.plots.style import INK, MUTED, figure_style, use_log_axis

_LARGEST: dict[str, Any] = {"marker": "."}
_OTHERS: dict[str, Any] = {"marker": "", "linewidth": 0.7}
_RMS: dict[str, Any] = {
    "marker": "s",
    "markersize": 2.4,
    "linestyle": (0, (4, 1.6)),
    "markerfacecolor": "none",
}


def plot_spectrum(networks: Sequence[Network]) -> Figure:
    """Draw the singular values of the branches over units and, below, those of the spans by order.

    Args:
        networks: drawn together; those without Jacobians are left out.
    """
    kinds = [
        kind for kind in ("branch", "span") if any((n.jacobians["jacobian"] == kind).any() for n in networks)
    ]
    with figure_style():
        figure, axes = new_figure(0.8 + 2.5 * len(kinds), rows=max(1, len(kinds)))
        for one, kind in zip(axes[:, 0], kinds, strict=True):
            values = [
                found
                for network in networks
                for found in (_draw_branches if kind == "branch" else _draw_spans)(one, network)
            ]
            use_log_axis(one, np.array(values))
            one.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
        if "branch" in kinds:
            mark_stages(axes[0, 0], networks)
            label_units(axes[0, 0], networks)
            axes[0, 0].set_ylabel("singular values of\n∂F/∂xₗ")
        if "span" in kinds:
            last = axes[-1, 0]
            last.set_xlabel("order, from the largest")
            last.xaxis.set_major_locator(MaxNLocator(10, integer=True))
            last.set_ylabel("largest singular values of\n$∂x_L/∂x_l$", parse_math=True)
        styles = [("largest", _LARGEST), ("next largest", _OTHERS), ("root mean square", _RMS)]
        title = "Singular values of Jacobians, whole batch"
        legend(figure, title, networks, styles if "branch" in kinds else ())
    return figure


def _draw_branches(axes: Axes, network: Network) -> list[float]:
    """Draw a line an order over units, and the root mean square; return what is drawn."""
    style = {"color": network.colour}
    values = network.singular_values
    drawn: list[float] = []
    for order, part in values[values["jacobian"] == "branch"].groupby("order", sort=True):
        if int(str(order)) > 0:
            kind = _LARGEST if order == 1 else _OTHERS
            drawn += _line(axes, part, "singular_value", band=order == 1, **style | kind)
    jacobians = network.jacobians[network.jacobians["jacobian"] == "branch"]
    return drawn + _line(axes, jacobians, "root_mean_square", band=True, **style | _RMS)


def _line(axes: Axes, part: pd.DataFrame, column: str, *, band: bool, **style: Any) -> list[float]:
    ordered = part.sort_values("span_start")
    unit, value = ordered["span_start"].to_numpy(float), ordered[column].to_numpy(float)
    ends = (ordered[f"{column}_low"], ordered[f"{column}_high"]) if band else ()
    draw_values(axes, unit, value, *ends, **style)
    return [float(one) for one in value]


def _draw_spans(axes: Axes, network: Network) -> list[float]:
    """Draw a line a span over order, with the span's name at its end; return what is drawn."""
    values = network.singular_values
    drawn: list[float] = []
    spans = values[(values["jacobian"] == "span") & (values["order"] > 0)]
    for (start, end), part in spans.groupby(["span_start", "span_end"], sort=True):
        ordered = part.sort_values("order")
        order, value = ordered["order"].to_numpy(float), ordered["singular_value"].to_numpy(float)
        ends = (ordered["singular_value_low"], ordered["singular_value_high"])
        draw_values(axes, order, value, *ends, color=network.colour, marker=".")
        axes.annotate(
            f"x{start} to x{end}",
            (order[-1], value[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,  # half of the palette is too light to be read on paper
        )
        drawn += [float(one) for one in value]
    return drawn
