"""Pre-activation networks beside their predictions: growth, gradients, branch shares, gains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from common.colours import colour_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gradflow.plots import figure_style
from gradflow.plots.axes import legend, new_figure
from gradflow.plots.style import MUTED, use_log_axis
from gradflow.theory import UNIT_KINDS
from initialisation.drawing import (
    PREDICTED,
    REFINED,
    by_stage,
    draw_dot,
    draw_seeds,
    find_deepest,
    layers_of,
    name_depths,
    stage_colour,
    stage_style,
)
from initialisation.fits import accumulated, states
from initialisation.measuring import Measurement


def draw_laws(measurements: Sequence[Measurement], verdicts: pd.DataFrame) -> Figure:
    """Draw the growth of E[y²], ‖g‖² against v, and the fitted exponents, beside the predictions."""
    chosen = find_deepest(measurements)
    with figure_style():
        figure, axes = new_figure(8.6, 3, max(len(chosen), 1))
        for column, (kind_name, members) in enumerate(chosen.items()):
            tables = [states(member, "frozen") for member in members]
            title = f"preact{members[0].case.depth} ({kind_name} units)"
            _draw_energy(axes[0, column], kind_name, tables)
            _draw_power_law(axes[1, column], kind_name, tables)
            _draw_exponents(axes[2, column], kind_name, verdicts)
            axes[0, column].set_title(title)
        axes[0, 0].set_ylabel("E[y²] at a stage's state j")
        axes[1, 0].set_ylabel("‖gⱼ‖² / ‖g at the stage's end‖²")
        axes[2, 0].set_ylabel("exponent of 1/v")
        stages = [(f"stage {stage}", stage_style(stage)) for stage in range(3)]
        styles = [
            *stages,
            ("predicted: slope $a$, exponent $r^K$", PREDICTED),
            ("unit by unit, padding counted", REFINED),
        ]
        title = "Pre-activation networks against the prediction (BN statistics frozen)"
        legend(figure, title, styles=styles, math=True)
    return figure


def _draw_energy(axes: Axes, kind_name: str, tables: Sequence[pd.DataFrame]) -> None:
    kind = UNIT_KINDS[kind_name]
    for stage, position, energy in by_stage(tables, "energy"):
        draw_seeds(axes, position, energy, stage)
    longest = max(int(table["position"].max()) for table in tables)
    position = np.arange(1, longest + 1)
    for start in sorted({kind.start(0), kind.start(1)}):
        axes.plot(position, start + kind.gain * (position - 1), **PREDICTED)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("state j: units of the stage passed")


def _draw_power_law(axes: Axes, kind_name: str, tables: Sequence[pd.DataFrame]) -> None:
    kind = UNIT_KINDS[kind_name]
    most, gradients = 1.0, []
    by_variance, by_gradient = by_stage(tables, "variance"), by_stage(tables, "log_gradient")
    for (stage, _, variance), (_, _, log_gradient) in zip(by_variance, by_gradient, strict=True):
        shrinking = variance[:, -1:] / variance
        gradient = np.exp(log_gradient - log_gradient[:, -1:])
        for x, y in zip(shrinking, gradient, strict=True):
            axes.plot(x, y, color=stage_colour(stage), alpha=0.25, linewidth=0.7)
        mean = np.exp(np.log(shrinking).mean(axis=0)), np.exp(np.log(gradient).mean(axis=0))
        axes.plot(*mean, **stage_style(stage, len(mean[0])))
        most = max(most, float(mean[0].max()))
        gradients.append(gradient.ravel())
    span = np.geomspace(1, most, 50)
    axes.plot(span, span**kind.exponent, **PREDICTED)
    by_harmonic = by_stage(tables, "harmonic_variance")
    for (stage, _, variance), (_, _, harmonic) in zip(by_variance, by_harmonic, strict=True):
        expected = accumulated(kind, harmonic.mean(axis=0), stage, padding=True)
        shrinking = variance[:, -1:] / variance
        x = np.exp(np.log(shrinking).mean(axis=0))
        axes.plot(x, np.exp(expected), **{**REFINED, "color": stage_colour(stage)})
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50, 100]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    use_log_axis(axes, np.concatenate([*gradients, span**kind.exponent]))
    axes.set_xlabel("v at the stage's end / vⱼ")


def _draw_exponents(axes: Axes, kind_name: str, verdicts: pd.DataFrame) -> None:
    mine = verdicts[(verdicts["network"] == "preact") & (verdicts["kind"] == kind_name)]
    measured = mine[(mine["law"] == "exponent") & (mine["bn"] == "frozen")].reset_index(drop=True)
    by_units = mine[(mine["law"] == "exponent_padded") & (mine["bn"] == "frozen")]["predicted"]
    for index, row in measured.iterrows():
        draw_dot(axes, float(str(index)), row, stage_colour(int(row["stage"])))
    for index, value in enumerate(by_units):
        axes.plot([index - 0.35, index + 0.35], [value, value], **REFINED)
    axes.axhline(UNIT_KINDS[kind_name].exponent, **PREDICTED)
    name_depths(axes, measured)


def draw_shares(measurements: Sequence[Measurement], verdicts: pd.DataFrame) -> Figure:
    """Draw De & Smith's branch share by unit, and the gain of identity and transition units by depth."""
    chosen = find_deepest(measurements)
    with figure_style():
        widths = [*[1.0] * len(chosen), 1.35]  # the last has depths to name that are near each other
        figure, axes = new_figure(3.9, 1, len(chosen) + 1, gridspec_kw={"width_ratios": widths})
        for one, (kind_name, members) in zip(axes.flat, chosen.items(), strict=False):
            tables = [states(member, "batch") for member in members]
            shares = []
            for stage, position, share in by_stage(tables, "share"):
                draw_seeds(one, position[1:] - 1, share[:, 1:], stage)
                shares.append(share[:, 1:].ravel())
            passed = np.arange(1.0, max(table["position"].max() for table in tables))
            for stage in (0, 1):
                predicted = UNIT_KINDS[kind_name].branch_share(passed, stage)
                one.plot(passed, predicted, **PREDICTED)
            one.set_xscale("log")
            one.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            use_log_axis(one, np.concatenate(shares))
            one.set_xlabel("units after the stage's first")
            one.set_title(f"preact{members[0].case.depth}")
        axes[0, 0].set_ylabel("Var(F) / Var(y)  (share)")
        _draw_gains(axes[0, -1], verdicts)
        stages = [(f"stage {stage}", stage_style(stage)) for stage in range(3)]
        legend(
            figure,
            "Branch share, and what a unit multiplies the gradient by",
            styles=[*stages, (r"predicted: $a / (v_0 + a\,l)$", PREDICTED)],
            math=True,
        )
    return figure


def _draw_gains(axes: Axes, verdicts: pd.DataFrame) -> None:
    names = {"identity_gain": ("identity", "o", "-"), "transition_gain": ("transition", "s", (0, (4, 2)))}
    gains = verdicts[verdicts["law"].isin(names)]
    for (law, network), part in gains.groupby(["law", "network"], sort=False):
        word, marker, dashes = names[str(law)]
        layers = [layers_of(depth) for depth in part["depth"]]
        axes.plot(
            layers,
            part["value"],
            color=colour_of(str(network)),
            marker=marker,
            markersize=4,
            linestyle=dashes,
            label=f"{network}, {word}",
        )
    axes.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
    axes.set_xscale("log")
    layers = sorted({layers_of(depth) for depth in gains["depth"]})
    axes.xaxis.set_major_locator(FixedLocator(layers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.set_xlabel("layers")
    axes.set_ylabel("median ‖gₗ‖ / ‖gₗ₊₁‖  (ratio a unit)")
    axes.set_title("Gain a unit")
    axes.set_ylim(top=1.55 * float(gains["value"].max()))
    axes.tick_params(axis="x", labelsize=7)
    axes.legend(fontsize=7.5, loc="upper right")
