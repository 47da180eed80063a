"""The gradient norm by depth, drawn with letters."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradflow.cli.tables import number

ROWS = 5
BLOCKS = "▁▂▃▄▅▆▇█"
_LABEL = 9
"""Columns for a number at the left; `number` takes no more."""

_WIDEST = 8
"""Columns a unit at most, where there are few of them."""


def plot_by_depth(units: pd.DataFrame, width: int = 80) -> list[str]:
    """Return ‖∂E/∂x_l‖ over the units as lines of text, on a logarithmic scale whose ends are labelled.

    A column of blocks is a unit; where there are more units than columns it is the geometric mean of
    neighbours. A unit whose norm is 0 or not finite is left blank and counted in the first line.

    Args:
        units: one row a unit, in order, with `unit`, `stage` and `grad_in_norm`.
        width: of the terminal, in columns.

    Returns:
        A heading, `ROWS` rows and the units' numbers at the first unit of each stage; nothing where fewer
        than two norms can be drawn.
    """
    norms = units["grad_in_norm"].to_numpy(float)
    drawable = np.isfinite(norms) & (norms > 0)
    if drawable.sum() < 2:
        return []
    room = max(width - _LABEL - 2, 8)
    logs = np.full(len(norms), np.nan)
    logs[drawable] = np.log(norms[drawable])
    where, columns = _columns(len(norms), room)
    shown = _column_means(logs, where, columns)
    levels = _levels(shown)
    left_out = len(norms) - int(drawable.sum())
    heading = "‖∂E/∂x‖ by unit, logarithmic"
    if left_out:
        heading += f"; blank: {left_out} that are 0 or not finite"
    rows = [_row(levels, row) for row in range(ROWS - 1, -1, -1)]
    ends = {0: number(np.exp(np.nanmax(shown))), ROWS - 1: number(np.exp(np.nanmin(shown)))}
    lines = [f"{ends.get(index, ''):>{_LABEL}}  {row}".rstrip() for index, row in enumerate(rows)]
    return [heading, *lines, f"{'unit':>{_LABEL}}  {_axis(units, where, columns)}"]


def _columns(count: int, room: int) -> tuple[NDArray[np.int64], int]:
    """Return the first column of each unit, and how many columns there are."""
    if count > room:
        return np.arange(count) * room // count, room
    wide = min(room // count, _WIDEST)
    return np.arange(count) * wide, count * wide


def _column_means(logs: NDArray[np.float64], where: NDArray[np.int64], columns: int) -> NDArray[np.float64]:
    """Return the mean of what falls into each column; where no unit begins, the one before goes on."""
    means = pd.Series(logs).groupby(where).mean()
    owner = np.searchsorted(means.index.to_numpy(), np.arange(columns), side="right") - 1
    return np.asarray(means.to_numpy(float)[owner], np.float64)


def _levels(logs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return heights in eighths of a row, from 1 to the whole; 0 for what has none."""
    low, high = np.nanmin(logs), np.nanmax(logs)
    most = ROWS * len(BLOCKS)
    share = np.full(len(logs), 0.5) if high == low else (logs - low) / (high - low)
    return np.where(np.isnan(logs), 0, np.rint(1 + np.nan_to_num(share) * (most - 1))).astype(np.int64)


def _row(levels: NDArray[np.int64], row: int) -> str:
    """Return one row of blocks, `row` counted from the bottom."""
    heights = np.clip(levels - row * len(BLOCKS), 0, len(BLOCKS))
    return "".join((" " + BLOCKS)[height] for height in heights)


def _axis(units: pd.DataFrame, where: NDArray[np.int64], columns: int) -> str:
    """Return the numbers of each stage's first unit and of the last unit, as far as there is room."""
    line = [" "] * columns
    stages = units["stage"].to_numpy()
    firsts = [index for index in range(len(stages)) if index == 0 or stages[index] != stages[index - 1]]
    for index in dict.fromkeys([*firsts, len(stages) - 1]):
        text = str(units["unit"].iloc[index])
        start = min(int(where[index]), columns - len(text))
        if start >= 0 and all(letter == " " for letter in line[max(start - 1, 0) : start + len(text)]):
            line[start : start + len(text)] = text
    return "".join(line).rstrip()
