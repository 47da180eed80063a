"""Gradients by depth: all networks together, and the plain ones' decades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from common.colours import colour_of, variant_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gradflow.plots import figure_style
from gradflow.plots.axes import legend, new_figure
from gradflow.plots.style import INK, use_log_axis
from gradflow.theory import UNIT_KINDS, R, UnitKind
from initialisation.drawing import (
    NETWORKS,
    PREDICTED,
    REFINED,
    draw_dot,
    layers_of,
    name_depths,
    power_of_ten,
    stage_colour,
)
from initialisation.measuring import Measurement
from initialisation.tables import relative_gradients


def draw_depths(measurements: Sequence[Measurement]) -> Figure:
    """Draw the gradient norm by unit, a panel a depth, and its whole span against depth."""
    ratios = relative_gradients(measurements)
    depths = list(dict.fromkeys(ratios["depth"]))
    residual = ratios[ratios["network"] != "plain"]
    top = 4 * float((residual if len(residual) else ratios)["ratio"].max())
    with figure_style():
        rows = -(-(len(depths) + 1) // 2)
        figure, axes = new_figure(0.9 + 2.15 * rows, rows, 2)
        flat = list(axes.flat)
        for one, depth in zip(flat, depths, strict=False):
            _draw_depth(one, ratios[ratios["depth"] == depth], depth, top)
        _draw_spans(flat[len(depths)], ratios, depths)
        for spare in flat[len(depths) + 1 :]:
            spare.set_visible(False)
        for one in axes[:, 0]:
            one.set_ylabel("‖∂E/∂xₗ‖ / last unit's  (ratio)")
        styles = [
            (NETWORKS[name], {"color": colour_of(name)})
            for name in NETWORKS
            if name in set(ratios["network"])
        ]
        legend(figure, "Gradient norm by depth at initialisation", styles=styles)
    return figure


def _draw_depth(axes: Axes, ratios: pd.DataFrame, depth: str, top: float) -> None:
    for network, part in ratios.groupby("network", sort=False):
        colour = colour_of(str(network))
        axes.plot(part["unit"], part["ratio"], color=colour)
        axes.fill_between(
            part["unit"], part["ratio_low"], part["ratio_high"], color=colour, alpha=0.2, linewidth=0
        )
        if network == "plain" and part["ratio"].max() > top:
            last_above = part[part["ratio"] > top]["unit"].max()
            leftward = last_above > 0.6 * part["unit"].max()
            axes.annotate(
                f"plain: up to {power_of_ten(part['ratio'].max())}",
                (last_above, top),
                xytext=(-14 if leftward else 20, 0),
                textcoords="offset points",
                ha="right" if leftward else "left",
                va="top",
                color=INK,
                fontsize=8,
            )
    use_log_axis(axes, np.array([0.5, top]))
    axes.set_ylim(0.4, top)
    axes.set_title(f"{depth} layers, {int(ratios['unit'].max()) + 1} units")
    axes.set_xlabel("residual unit l, from the input to the loss")


def _draw_spans(axes: Axes, ratios: pd.DataFrame, depths: Sequence[str]) -> None:
    first = ratios[ratios["unit"] == 0]
    for network, part in first.groupby("network", sort=False):
        layers = [layers_of(depth) for depth in part["depth"]]
        axes.plot(layers, np.log10(part["ratio"]), color=colour_of(str(network)), marker="o", markersize=4)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([layers_of(depth) for depth in depths]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    use_log_axis(axes, np.log10(first["ratio"].to_numpy(float)))
    axes.set_title("From the last unit to the first, in decades")
    axes.set_xlabel("layers")
    axes.set_ylabel("log₁₀ of the ratio")


def draw_plain(measurements: Sequence[Measurement], verdicts: pd.DataFrame) -> Figure:
    """Draw plain networks' gradients in decades, and their growth a convolution by stage."""
    plain = [measurement for measurement in measurements if measurement.case.network == "plain"]
    ratios = relative_gradients(plain)
    with figure_style():
        figure, axes = new_figure(4.4, 1, 2, gridspec_kw={"width_ratios": [1.1, 1]})
        left, right = axes[0]
        kinds = {measurement.case.depth: UNIT_KINDS[measurement.case.unit] for measurement in plain}
        styles = _draw_decades(left, ratios, kinds)
        _draw_growth(right, verdicts, kinds)
        stages = [(f"stage {stage}", {"color": stage_colour(stage), "marker": "o"}) for stage in range(3)]
        predictions = [("predicted: √r a convolution", PREDICTED), ("padding counted", REFINED)]
        legend(figure, "Plain networks: exponential gradients", styles=[*styles, *stages, *predictions])
    return figure


def _draw_decades(
    axes: Axes, ratios: pd.DataFrame, kinds: dict[str, UnitKind]
) -> list[tuple[str, dict[str, Any]]]:
    styles = []
    lines = []
    for index, depth in enumerate(dict.fromkeys(ratios["depth"])):
        part = ratios[ratios["depth"] == depth]
        passed = (part["unit"].max() - part["unit"]) * kinds[depth].convolutions
        furthest_at = [int(passed.to_numpy(float).argmax())]
        mark = variant_style(index)["marker"]
        style = {"color": colour_of("plain"), "marker": mark, "markersize": 5, "markevery": furthest_at}
        lines.append((passed.to_numpy(float), np.log10(part["ratio"].to_numpy(float)), style))
        styles.append((f"plain{depth}", style))
    furthest = [float(passed.max()) for passed, _, _ in lines]
    inset = axes.inset_axes((0.1, 0.58, 0.36, 0.38)) if max(furthest) > 4 * min(furthest) else None
    for one in (axes, inset):
        if one is None:
            continue
        for passed, decades, style in reversed(lines):
            one.plot(passed, decades, **style)
        span = np.array([0, max(furthest)])
        one.plot(span, span * np.log10(R) / 2, **PREDICTED)
    if inset is not None:
        near = sorted(furthest)[-2]
        inset.set_xlim(0, 1.03 * near)
        inset.set_ylim(-0.3, near * np.log10(R) / 2)
        inset.tick_params(labelsize=7)
    axes.set_xlabel("convolutions from the last unit's input, towards the image")
    axes.set_ylabel("log₁₀ of ‖∂E/∂xₗ‖ / last unit's  (decades)")
    axes.set_title("Decades by depth")
    return styles


def _draw_growth(axes: Axes, verdicts: pd.DataFrame, kinds: dict[str, UnitKind]) -> None:
    mine = verdicts[(verdicts["bn"] == "frozen")]
    measured = mine[mine["law"] == "plain_growth"].reset_index(drop=True)
    padded = mine[mine["law"] == "plain_growth_padded"].reset_index(drop=True)
    for index, (_, row) in enumerate(measured.iterrows()):
        power = 1 / kinds[str(row["depth"])].convolutions
        draw_dot(axes, index, row, stage_colour(int(row["stage"])), power)
        expected = float(padded.loc[index, "predicted"]) ** power
        axes.plot([index - 0.35, index + 0.35], [expected, expected], **REFINED)
    axes.axhline(R**0.5, **PREDICTED)
    name_depths(axes, measured)
    axes.set_title("Growth a convolution (frozen statistics)")
    axes.set_ylabel("growth of ‖g‖  (ratio a convolution)")
