"""Figures of Veit et al. 2016: gradient by length of path, and what a lesion costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.plots.axes import label_units, legend, mark_stages, new_figure, say
from gradflow.plots.lines import draw_values
from gradflow.plots.network import Network
from gradflow.plots.style import MUTED, figure_style, use_log_axis

_UNCHANGED: dict[str, Any] = {"linestyle": (0, (4, 1.6)), "linewidth": 1.0, "color": MUTED}


def plot_paths(networks: Sequence[Network]) -> Figure:
    """Draw the gradient along one path by its length and, beside it, the share of all paths of a length."""
    with figure_style():
        figure, axes = new_figure(3.6, columns=2)
        one_path, share = axes[0]
        for network in networks:
            length = network.paths["length"].to_numpy(float)
            _band(one_path, length, network.paths, "gradient", network)
            _band(share, length, network.paths, "share", network)
        use_log_axis(one_path, np.concatenate([n.paths["gradient"].to_numpy(float) for n in networks]))
        one_path.set_ylabel("‖∂E/∂x₀‖ along one path (mean)")
        share.set_ylabel("share of the gradient, all paths")
        share.set_ylim(bottom=0)
        for one in axes[0]:
            one.set_xlabel("length of the path: branches on it")
            one.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        legend(figure, "Gradient by length of path", networks)
    return figure


def plot_lesions(networks: Sequence[Network]) -> Figure:
    """Draw the error (else the loss) after removing each unit, several, and exchanging pairs of units."""
    column = "error" if all(n.lesions["error"].notna().all() for n in networks) else "loss"
    several, reordered = (
        any((n.lesions["units"].isna() & (n.lesions["lesion"] == kind)).any() for n in networks)
        for kind in ("remove", "reorder")
    )
    with figure_style():
        below = several or reordered
        figure = new_figure(3.2 + 2.6 * below)[0]
        figure.clear()
        grid = figure.add_gridspec(1 + below, 2)
        alone = figure.add_subplot(grid[0, :])
        panels = [alone]
        _draw_single(alone, networks, column)
        alone.set_ylabel(f"{column} without one unit")
        if below:
            removed, exchanged = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
            panels += [removed, exchanged]
            for axes, kind, x, label in (
                (removed, "remove", "count", "units removed together"),
                (exchanged, "reorder", "kendall_tau", "Kendall's τ of the units' order"),
            ):
                drawn = [_draw_several(axes, network, kind, x, column) for network in networks]
                axes.set_xlabel(label)
                axes.set_ylabel(column)
                if not any(drawn):
                    say(axes, "not measured")
            if reordered:
                exchanged.invert_xaxis()
        for axes in panels:
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y")
        legend(figure, "Lesions: what units are worth at test time", networks, [("no lesion", _UNCHANGED)])
    return figure


def _band(axes: Axes, x: np.ndarray, frame: pd.DataFrame, column: str, network: Network) -> None:
    style = {"color": network.colour, "linestyle": network.dashes, "marker": "."}
    draw_values(axes, x, frame[column], frame[f"{column}_low"], frame[f"{column}_high"], **style)


def _draw_single(axes: Axes, networks: Sequence[Network], column: str) -> None:
    mark_stages(axes, networks)
    for network in networks:
        whole = network.lesions[network.lesions["lesion"] == "none"]
        single = network.lesions[(network.lesions["lesion"] == "remove") & (network.lesions["count"] == 1)]
        unit = single["units"].astype(float).to_numpy()
        axes.axhline(float(whole[column].iloc[0]), **_UNCHANGED | {"color": network.colour})
        _band(axes, unit, single, column, network)
    label_units(axes, networks)


def _draw_several(axes: Axes, network: Network, kind: str, x: str, column: str) -> bool:
    """Draw lesions of one kind by their size, from none on; False if there is none."""
    lesions = network.lesions
    chosen = lesions[(lesions["lesion"] == kind) & (lesions["units"].isna())]
    if chosen.empty:
        return False
    whole = lesions[lesions["lesion"] == "none"]
    if x == "count":
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    both = pd.concat([whole, chosen]).sort_values(x, kind="stable")
    _band(axes, both[x].to_numpy(float), both, column, network)
    return True
