"""Colours, lines and ticks that the figures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from common.colours import VARIANTS
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from gradflow.plots import format_number
from gradflow.plots.style import INK
from gradflow.theory import UNIT_KINDS
from initialisation.measuring import Measurement

NETWORKS = {"preact": "pre-activation", "resnet": "post-activation", "plain": "plain (no shortcut)"}
PREDICTED: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.1}
REFINED: dict[str, Any] = {"color": INK, "linestyle": (0, (1, 1.4)), "linewidth": 1.1}


def find_deepest(measurements: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Return the deepest pre-activation network of each kind of unit, all seeds."""
    chosen: dict[str, list[Measurement]] = {}
    preact = [measurement for measurement in measurements if measurement.case.network == "preact"]
    for kind in UNIT_KINDS:
        members = [member for member in preact if member.case.unit == kind]
        if members:
            depth = max((member.case.depth for member in members), key=layers_of)
            chosen[kind] = [member for member in members if member.case.depth == depth]
    return chosen


def by_stage(tables: Sequence[pd.DataFrame], column: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return (stage, positions, values of shape (seeds, positions)) for every stage."""
    return [
        (
            int(stage),
            part["position"].to_numpy(float),
            np.stack([table.loc[table["stage"] == stage, column].to_numpy(float) for table in tables]),
        )
        for stage, part in tables[0].groupby("stage")
    ]


def draw_seeds(axes: Axes, x: np.ndarray, values: np.ndarray, stage: int) -> None:
    """Draw each seed thin, and their mean over it; `values` has shape (seeds, points)."""
    for one in values:
        axes.plot(x, one, color=stage_colour(stage), alpha=0.25, linewidth=0.7)
    axes.plot(x, values.mean(axis=0), **stage_style(stage, len(x)))


def draw_dot(axes: Axes, x: float, row: pd.Series[Any], colour: str, power: float = 1.0) -> None:
    """Draw a value of `row` with its interval at `x`, both raised to `power`."""
    low, value, high = (float(row[name]) ** power for name in ("value_low", "value", "value_high"))
    axes.plot([x, x], [low, high], color=colour)
    axes.plot([x], [value], color=colour, marker="o", markersize=5)


def name_depths(axes: Axes, rows: pd.DataFrame) -> None:
    """Name each group of dots by its depth, the dots standing in the rows' order."""
    positions = rows.groupby("depth", sort=False).apply(lambda part: float(np.mean(part.index)))
    axes.xaxis.set_major_locator(FixedLocator(list(positions)))
    labels = dict(zip(positions, positions.index, strict=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: str(labels.get(value, ""))))
    axes.set_xlabel("layers")


def stage_colour(stage: int) -> str:
    """Return the colour of stage 0, 1 or 2, which no network has."""
    return VARIANTS[(0, 2, 5)[stage]]


def stage_style(stage: int, points: int = 1) -> dict[str, Any]:
    """Return colour and marker of a stage's line over so many points; its dashes are the predictions'."""
    every = (stage, max(1, points // 6))
    return {"color": stage_colour(stage), "marker": "os^"[stage], "markersize": 3.5, "markevery": every}


def layers_of(depth: str) -> float:
    """Return the number of layers in a depth such as 29-bottleneck."""
    return float(depth.partition("-")[0])


def power_of_ten(value: float) -> str:
    """Return `value` to the nearest power of ten, or as it is if it is small."""
    return format_number(float(f"1e{round(np.log10(value))}"), 1) if value >= 1e4 else format_number(value, 2)
