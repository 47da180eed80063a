"""Figures over training iterations: curves of loss and error, and under them depth-by-iteration surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from gradflow.plots.axes import legend, name_panel, new_figure, say, stage_bounds
from gradflow.plots.lines import draw_values
from gradflow.plots.network import Network
from gradflow.plots.style import INK, MUTED, figure_style, use_log_axis
from gradflow.wording import format_number

Array = NDArray[np.float64]

_SMOOTHED_OVER = 100
"""A training curve is averaged over one part in so many of its length: that of one batch jumps."""

_POINTS_A_WINDOW = 8
"""What is averaged over a window changes little within an eighth of it."""

_BAR_STEPS = 64
"""Colours of the bar beside a surface, drawn one by one."""

_DROPS_TO = 0.8
"""A learning rate that falls to less than this in one step drops; one that is annealed does not."""

_TRAIN: dict[str, Any] = {"linewidth": 1.3}
_TEST: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 4.5,
    "markerfacecolor": "none",
    "clip_on": False,
}
_DROP: dict[str, Any] = {"color": MUTED, "linewidth": 0.9, "linestyle": (0, (1.5, 1.8))}

_SURFACES = (
    ("grad_in_norm", "‖∂E/∂xₗ‖", "viridis"),
    ("backward_shortcut_share", "shortcut's share of the\ngradient's energy", "cividis"),
)


def plot_training(networks: Sequence[Network]) -> Figure:
    """Draw, a column a trained network, loss and error over iterations and the gradient flow under them.

    All four share the axis of iterations; the learning rate's drops go through all.

    Args:
        networks: those without a training run are left out.
    """
    trained = [network for network in networks if network.over_time is not None]
    columns = min(len(trained), 2) or 1
    bands = -(-len(trained) // columns) or 1
    with figure_style():
        ratios = (1.15, 1.15, 1.3, 1.3) * bands
        figure, axes = new_figure(
            0.8 + 7.4 * bands, 4 * bands, columns, gridspec_kw={"height_ratios": ratios}
        )
        for index, network in enumerate(trained):
            band, column = divmod(index, columns)
            _draw_run(figure, axes[4 * band : 4 * band + 4, column], network, first=column == 0)
        for spare in axes[4 * (bands - 1) :, len(trained) - columns * (bands - 1) :].flat:
            spare.set_visible(False)
        styles = [
            ("training batches, averaged", _TRAIN),
            ("test data", _TEST),
            ("learning rate drops", _DROP),
        ]
        legend(figure, "Training, and the gradient flow on the way", styles=styles)
    return figure


def _draw_run(figure: Figure, axes: Sequence[Axes], network: Network, *, first: bool) -> None:
    assert network.over_time is not None
    steps, units = network.over_time.steps, network.over_time.units
    loss, error = axes[0], axes[1]
    name_panel(loss, network)
    _curves(loss, network, "loss", "test_loss", 1.0)
    _curves(error, network, "error", "test_error", 100.0)
    use_log_axis(loss, _values(steps, ["loss", "test_loss"], _window(steps)))
    error.set_ylim(0, None)
    if first:
        loss.set_ylabel("loss")
        error.set_ylabel("error (%)")
    for one, (column, label, colours) in zip(axes[2:], _SURFACES, strict=True):
        _surface(figure, one, units, column, label, colours)
        if first:
            one.set_ylabel("residual unit l")
    end = max(int(steps["iteration"].max()), 1)
    for one in axes:
        one.set_xlim(0, end)
        one.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        one.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        for drop in learning_rate_drops(steps):
            on_surface = one in axes[2:]
            one.axvline(drop, **(_DROP | {"color": "white"} if on_surface else _DROP))
        if one is not axes[-1]:
            one.tick_params(labelbottom=False)
    axes[-1].set_xlabel("iteration")


def _curves(axes: Axes, network: Network, train: str, test: str, scale: float) -> None:
    assert network.over_time is not None
    steps = network.over_time.steps
    window = _window(steps)
    iterations = steps["iteration"].to_numpy(float)
    smooth = scale * _smoothed(steps[train].to_numpy(float), window)
    thin = slice(None, None, max(window // _POINTS_A_WINDOW, 1))
    draw_values(axes, iterations[thin], smooth[thin], color=network.colour, **_TRAIN)
    axes.plot(iterations, scale * steps[test].to_numpy(float), color=INK, **_TEST)


def _surface(figure: Figure, axes: Axes, units: pd.DataFrame, column: str, label: str, colours: str) -> None:
    """Draw `column` with iterations to the right and units upwards, and a bar that says its numbers."""
    table = units.pivot_table(index="unit", columns="iteration", values=column, aggfunc="mean")
    values = table.to_numpy(float)
    axes.grid(visible=False)
    known = values[np.isfinite(values) & ((values > 0) | (column == "backward_shortcut_share"))]
    if not len(known):
        say(axes, "no value: no shortcut, or not finite")
        return
    iterations = table.columns.to_numpy(float)
    norm = Normalize(0, 1) if column == "backward_shortcut_share" else LogNorm(known.min(), known.max())
    # As an image: a mesh has a path a cell, and in a PDF each one holds a picture of the whole page.
    axes.pcolorfast(
        _edges(iterations),
        np.append(table.index.to_numpy(float) - 0.5, table.index.max() + 0.5),
        np.ma.masked_invalid(values),
        norm=norm,
        cmap=colours,
    )
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    for _, start, _ in stage_bounds(units[units["iteration"] == units["iteration"].max()])[1:]:
        axes.axhline(start - 0.5, color="white", linewidth=0.7)
    scale = ScalarMappable(norm, colormaps[colours].resampled(_BAR_STEPS))
    bar = figure.colorbar(scale, ax=axes, pad=0.02, aspect=12, label=label)
    if bar.solids is not None:
        bar.solids.set(rasterized=False, edgecolor="face")
    bar.outline.set_visible(False)
    low, high = (0.0, 1.0) if column == "backward_shortcut_share" else (known.min(), known.max())
    inside = np.linspace(low, high, 3) if low == 0 else np.geomspace(low, high, 4)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_ticks(list(inside), labels=[format_number(value, 2) for value in inside])


def learning_rate_drops(steps: pd.DataFrame) -> list[int]:
    """Return the iterations after which the learning rate was lower than before, by a fifth at least."""
    ordered = steps.sort_values("iteration")
    rates, iterations = ordered["learning_rate"].to_numpy(float), ordered["iteration"].to_numpy(int)
    return [int(iterations[at]) for at in np.flatnonzero(rates[1:] < _DROPS_TO * rates[:-1])]


def _window(steps: pd.DataFrame) -> int:
    return max(len(steps) // _SMOOTHED_OVER, 1)


def _values(steps: pd.DataFrame, columns: Sequence[str], window: int) -> Array:
    train, test = (steps[column].to_numpy(float) for column in columns)
    return np.concatenate([_smoothed(train, window), test])


def _smoothed(values: Array, window: int) -> Array:
    """Return the mean over `window` values around each, fewer at the ends."""
    means: Array = pd.Series(values).rolling(window, center=True, min_periods=1).mean().to_numpy(float)
    return means


def _edges(centres: Array) -> Array:
    """Return the edges between `centres`: a measurement stands for the iterations nearest to it."""
    if len(centres) == 1:
        return np.array([centres[0], centres[0] + 1])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([centres[:1], middles, centres[-1:]])
