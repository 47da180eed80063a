"""Parts that figures share: stages, lines with their intervals, legends, and words for what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from gradflow.plots.lines import draw_values
from gradflow.plots.network import Network
from gradflow.plots.style import BAND, INK, MUTED, WIDTH, use_log_axis

UNIT_AXIS = "residual unit, from the input (left) to the loss (right)"
_MOST_STAGE_NAMES = 8
_COMMON_DECADES = 6
_LEGEND_CHARACTERS = 120
_LEGEND_ROWS = 4
_LEGEND_ROW = 0.19
"""Rows of a legend that a figure's height allows for, and the height of each further one in inches."""


def new_figure(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return a figure, apart from pyplot's, and its axes as an array of `rows` × `columns`."""
    layout = ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.06, hspace=0.03, wspace=0.03)
    figure = Figure(figsize=(WIDTH, height), layout=layout)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y")
    return figure, axes


def panels(networks: Sequence[Network], height: float, *, columns: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel a network, at most `columns` side by side."""
    columns = min(len(networks), columns) or 1
    rows = -(-len(networks) // columns) or 1
    figure, axes = new_figure(0.9 + height * rows, rows, columns)
    for spare in axes.flat[len(networks) :]:
        spare.set_visible(False)
    for one, network in zip(axes.flat, networks, strict=False):
        name_panel(one, network)
    return figure, list(axes.flat[: len(networks)])


def name_panel(axes: Axes, network: Network) -> None:
    """Name the network that `axes` are about, in ink, above a bar of its colour.

    Names are not written in the colour: half of the palette is too light to be read on paper.
    """
    axes.set_title(network.label)
    bar = Rectangle((0, 1), 0.06, 0.02, transform=axes.transAxes, color=network.colour, clip_on=False, lw=0)
    bar.set_in_layout(False)
    axes.add_artist(bar)


def same_stages(networks: Sequence[Network]) -> bool:
    """Return whether all networks have as many units, in the same stages."""
    return len({tuple(network.units["stage"].fillna(-1)) for network in networks}) <= 1


def mark_stages(axes: Axes, networks: Sequence[Network], *, names: bool = True) -> None:
    """Shade every other stage; where the networks differ in their stages, there is nothing to shade."""
    if networks and same_stages(networks):
        mark_bands(axes, stage_bounds(networks[0].units), names=names)


def mark_bands(axes: Axes, bands: Sequence[tuple[int, int, int]], *, names: bool = True) -> None:
    """Shade every other one of `bands`: (stage, first, last) in the x axis's own numbers."""
    for number, (stage, first, last) in enumerate(bands):
        if number % 2 == 0:
            axes.axvspan(first - 0.5, last + 0.5, color=BAND, zorder=-2, linewidth=0)
        if names and 1 < len(bands) <= _MOST_STAGE_NAMES:
            axes.annotate(
                f"stage {stage}",
                ((first + last) / 2, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, -3),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=8,
                color=MUTED,
            )


_STAGE_START: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markersize": 6,
    "markerfacecolor": "none",
}


def mark_stage_starts(axes: Axes, network: Network, column: str) -> None:
    """Ring the first unit of every stage on a network's own line, where bands would fit only one network."""
    units = network.units.set_index("unit")
    first = [first for _, first, _ in stage_bounds(network.units)]
    axes.plot(first, units.loc[first, column].to_numpy(float), color=network.colour, **_STAGE_START)


def stage_styles(networks: Sequence[Network]) -> list[tuple[str, dict[str, Any]]]:
    """Return what a legend says of the rings, if there are any."""
    return [] if same_stages(networks) else [("first unit of a stage", _STAGE_START)]


def stage_bounds(units: pd.DataFrame) -> list[tuple[int, int, int]]:
    """Return (stage, first unit, last unit) of every stage, in order."""
    known = units[units["stage"].notna()]
    return [
        (int(stage), int(part.min()), int(part.max()))
        for stage in known["stage"].unique()
        for part in (known.loc[known["stage"] == stage, "unit"],)
    ]


def label_units(axes: Axes, networks: Iterable[Network], label: str = UNIT_AXIS) -> None:
    """Give `axes` the x axis of units, from the first to the last that any network has."""
    units = [network.units["unit"] for network in networks if len(network.units)]
    first = min((int(numbers.min()) for numbers in units), default=0)
    last = max((int(numbers.max()) for numbers in units), default=0)
    around = 0.5 + 0.01 * (last - first)
    axes.set_xlim(first - around, last + around)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel(label)


def draw_line(axes: Axes, network: Network, column: str, **options: Any) -> bool:
    """Draw `column` over units with its interval, and mark where stages begin; False if all is null."""
    units = network.units
    unit, value = units["unit"].to_numpy(float), units[column].to_numpy(float)
    if not np.isfinite(value).any():
        return False
    style = {"color": network.colour, "linestyle": network.dashes, "marker": "."} | options
    draw_values(axes, unit, value, units[f"{column}_low"], units[f"{column}_high"], **style)
    return True


def column_values(networks: Iterable[Network], columns: Sequence[str]) -> np.ndarray:
    """Return all numbers of `columns` with the ends of their intervals.

    An end cannot go further than ten times beyond all means: of two seeds, an interval is so wide that
    an axis for it would show nothing else.
    """
    networks = list(networks)
    mean = mean_values(networks, columns)
    positive = mean[np.isfinite(mean) & (mean > 0)]
    if not len(positive):
        return mean
    ends = mean_values(networks, [f"{column}{end}" for column in columns for end in ("_low", "_high")])
    return np.concatenate([mean, np.clip(ends, positive.min() / 10, positive.max() * 10)])


def mean_values(networks: Iterable[Network], columns: Iterable[str]) -> np.ndarray:
    """Return all numbers of `columns`, one after the other."""
    columns = list(columns)
    values = [network.units[column].to_numpy(float) for network in networks for column in columns]
    return np.concatenate(values) if values else np.empty(0)


def log_axes_together(axes: Sequence[Axes], values: Sequence[np.ndarray]) -> None:
    """Make `axes` logarithmic, each over its `values`, alike where one range shows all of them well.

    A plain network's gradients may span 80 decades; beside them, on one axis, a residual network's would
    be a flat line.
    """
    together = np.concatenate(values) if values else np.empty(0)
    positive = together[np.isfinite(together) & (together > 0)]
    alike = len(positive) == 0 or np.log10(positive.max()) - np.log10(positive.min()) <= _COMMON_DECADES
    for one, own in zip(axes, values, strict=True):
        use_log_axis(one, together if alike else own)


def say(axes: Axes, text: str) -> None:
    """Write `text` where there is nothing to draw."""
    axes.text(0.5, 0.45, text, transform=axes.transAxes, ha="center", va="center", color=MUTED, wrap=True)
    axes.set_yticks([])
    axes.grid(visible=False)


def say_missing(axes: Axes, missing: Sequence[Network], networks: Sequence[Network]) -> None:
    """Say which of `networks` have no value: in the middle if none has, else above the axes."""
    if not missing:
        return
    reason = "no shortcut" if all(map(_is_plain, missing)) else "null, or not finite"
    if len(missing) == len(networks):
        say(axes, f"no value: {reason}")
        return
    names = ", ".join(network.label for network in missing[:2]) + ("…" if len(missing) > 2 else "")
    say_above(axes, f"no value for {names}: {reason}")


def say_above(axes: Axes, text: str) -> None:
    """Write a remark at the right above `axes`, where it covers nothing."""
    axes.set_title(text, loc="right", color=MUTED, fontsize=8, fontweight="normal")


def _is_plain(network: Network) -> bool:
    return bool((network.units["shortcut"] == "none").all())


def legend(
    figure: Figure,
    title: str,
    networks: Sequence[Network] = (),
    styles: Sequence[tuple[str, dict[str, Any]]] = (),
    *,
    math: bool = False,
) -> None:
    """Write above the axes the figure's title, the networks' names, and what the styles of lines mean.

    Args:
        figure: where.
        title: of the figure.
        networks: named in their colours.
        styles: what they mean, in words, and matplotlib's options.
        math: whether words between dollars are formulas; never with names, which are people's own.
    """
    named = [
        (network.label, {"color": network.colour, "linestyle": network.dashes, "marker": "."})
        for network in networks
    ]
    handles = [Line2D([], [], **({"color": INK} | style), label=label) for label, style in [*named, *styles]]
    widest = max((len(str(handle.get_label())) for handle in handles), default=1)
    columns = max(1, min(len(handles), _LEGEND_CHARACTERS // (widest + 7)))
    # What a long legend needs is added, not taken from the axes.
    more = -(-len(handles) // columns) - _LEGEND_ROWS
    figure.set_figheight(figure.get_figheight() + max(0, more) * _LEGEND_ROW)
    drawn = figure.legend(
        handles=handles,
        title=title,
        loc="outside upper left",
        alignment="left",
        ncols=columns,
        handlelength=2.2,
        borderaxespad=0.3,
        title_fontproperties={"weight": "bold", "size": 11},
    )
    drawn.get_title().set_color(INK)
    for text in drawn.get_texts():
        text.set_parse_math(math)
