"""Figures over depth: one value a unit and network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradflow.plots.axes import (
    column_values,
    draw_line,
    label_units,
    legend,
    log_axes_together,
    mark_stage_starts,
    mark_stages,
    mean_values,
    new_figure,
    panels,
    same_stages,
    say_above,
    say_missing,
    stage_styles,
)
from gradflow.plots.network import Network
from gradflow.plots.style import MUTED, figure_style, use_log_axis

_SHORTCUT: dict[str, Any] = {"marker": "."}
_BRANCH: dict[str, Any] = {
    "marker": "s",
    "markersize": 2.4,
    "linestyle": (0, (4, 1.6)),
    "markerfacecolor": "none",
}
_SUM: dict[str, Any] = {"marker": "", "color": MUTED, "linewidth": 1.0, "linestyle": "-"}


def plot_gradient_norm(networks: Sequence[Network]) -> Figure:
    """Draw ‖∂E/∂x_l‖ over units on a log axis and, below, its growth in each unit.

    Args:
        networks: drawn together, one colour each; with several seeds each with a band.
    """
    with figure_style():
        figure, axes = new_figure(5.0, rows=2, sharex=True, gridspec_kw={"height_ratios": [2.2, 1]})
        top, bottom = axes[:, 0]
        _draw(top, networks, "grad_in_norm", "‖∂E/∂xₗ‖  (Frobenius norm)")
        _draw(bottom, networks, "backward_gain", "‖∂E/∂xₗ‖ / ‖∂E/∂xₗ₊₁‖\n(ratio a unit)", stage_names=False)
        bottom.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
        label_units(bottom, networks)
        legend(figure, "Gradient norm by depth", networks, stage_styles(networks))
    return figure


def plot_forward(networks: Sequence[Network]) -> Figure:
    """Draw ‖h(x_l)‖, ‖F(x_l)‖ and their sum's norm over units, a panel a network."""
    columns = (
        ("shortcut_norm", "shortcut ‖h(xₗ)‖"),
        ("branch_norm", "branch ‖F(xₗ)‖"),
        ("sum_norm", "sum ‖yₗ‖"),
    )
    return _two_ways("Forward: what the shortcut and the branch contribute", networks, columns)


def plot_backward(networks: Sequence[Network]) -> Figure:
    """Draw the gradient's parts through the shortcut and the branch over units, a panel a network."""
    columns = (
        ("grad_shortcut_norm", "through the shortcut ‖s‖"),
        ("grad_branch_norm", "through the branch ‖b‖"),
        ("grad_in_norm", "together ‖∂E/∂xₗ‖"),
    )
    return _two_ways("Backward: the gradient through the shortcut and through the branch", networks, columns)


def plot_cosines(networks: Sequence[Network]) -> Figure:
    """Draw the cosines of shortcut and branch, forward and backward, over units."""
    with figure_style():
        figure, axes = new_figure(4.9, rows=2, sharex=True, sharey=True)
        for one, column, label in (
            (axes[0, 0], "forward_cosine", "forward\ncos(h(xₗ), F(xₗ))"),
            (axes[1, 0], "backward_cosine", "backward\ncos(s, b)"),
        ):
            _draw(one, networks, column, label, log=False, stage_names=column == "forward_cosine")
            one.axhline(0, color=MUTED, linewidth=0.9, zorder=1)
        # By the means alone: intervals of few seeds may fill all of [−1, 1].
        means = mean_values(networks, ["forward_cosine", "backward_cosine"])
        low, high = np.nanmin([*means, -0.05]), np.nanmax([*means, 0.05])
        margin = 0.35 * (high - low)
        axes[0, 0].set_ylim(max(low - margin, -1.05), min(high + margin, 1.05))
        label_units(axes[1, 0], networks)
        legend(figure, "Cosine of shortcut and branch", networks, stage_styles(networks))
    return figure


def _draw(
    axes: Axes,
    networks: Sequence[Network],
    column: str,
    label: str,
    *,
    log: bool = True,
    stage_names: bool = True,
) -> None:
    """Draw `column` of every network into `axes`."""
    axes.set_ylabel(label)
    mark_stages(axes, networks, names=stage_names)
    missing = [network for network in networks if not draw_line(axes, network, column)]
    if not same_stages(networks):
        for network in networks:
            mark_stage_starts(axes, network, column)
    if log:
        use_log_axis(axes, column_values(networks, [column]))
    say_missing(axes, missing, networks)


def _two_ways(title: str, networks: Sequence[Network], columns: Sequence[tuple[str, str]]) -> Figure:
    """Draw the columns shortcut, branch and both, a panel a network, on one common log axis."""
    with figure_style():
        figure, axes = panels(networks, 2.7, columns=2)
        names = [column for column, _ in columns]
        for one, network in zip(axes, networks, strict=True):
            mark_stages(one, [network])
            drawn = [
                draw_line(one, network, column, **style)
                for column, style in zip(names, (_SHORTCUT, _BRANCH, _SUM), strict=True)
            ]
            label_units(one, [network], "residual unit l")
            one.set_ylabel("Frobenius norm")
            if not any(drawn):
                say_missing(one, [network], [network])
            elif not drawn[0]:
                say_above(one, "no shortcut")
        log_axes_together(axes, [column_values([network], names) for network in networks])
        styles = zip(columns, (_SHORTCUT, _BRANCH, _SUM), strict=True)
        legend(figure, title, styles=[(label, style) for (_, label), style in styles])
    return figure
