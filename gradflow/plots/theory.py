"""Figures of predictions beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gradflow.plots.axes import column_values, draw_line, label_units, legend, mark_stages, panels
from gradflow.plots.lines import draw_values
from gradflow.plots.network import Network
from gradflow.plots.style import INK, figure_style, use_log_axis

_PREDICTED: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.1}


def plot_branch_share(networks: Sequence[Network]) -> Figure:
    """Draw the branch's share of the signal's energy by unit, and De & Smith's prediction, dashed.

    Args:
        networks: a panel each; those without a prediction are left out.
    """
    predicted = [one for one in networks if one.units["predicted_branch_share"].notna().any()]
    with figure_style():
        figure, axes = panels(predicted, 2.7, columns=2)
        for one, network in zip(axes, predicted, strict=True):
            mark_stages(one, [network])
            draw_line(one, network, "forward_branch_share")
            units = network.units
            share = units["predicted_branch_share"].to_numpy(float)
            draw_values(one, units["unit"], share, **_PREDICTED)
            use_log_axis(one, np.concatenate([column_values([network], ["forward_branch_share"]), share]))
            label_units(one, [network], "residual unit l")
            one.set_ylabel("‖F‖² / (‖h‖² + ‖F‖²)  (share)")
        styles = [("measured", {"marker": "."}), ("predicted: a / (v₀ + a l)", _PREDICTED)]
        legend(figure, "Branch share beside theory", styles=styles)
    return figure
