"""Singular values, paths and lesions as tables for the terminal; several seeds by their median."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from rich.table import Table

from gradflow.cli.tables import number, plain_table

_SHOWN = 5
"""Singular values a row."""


def spectrum_table(jacobians: pd.DataFrame, values: pd.DataFrame) -> Table:
    """Return a row a Jacobian: its shape, root mean square, and largest (or smallest) singular values."""
    table = plain_table()
    table.add_column("Jacobian", no_wrap=True)
    for heading in ("rows", "columns", "rms", *(f"σ{order}" for order in range(1, _SHOWN + 1)), "smallest"):
        table.add_column(heading, justify="right", no_wrap=True)
    keys = ["jacobian", "span_start", "span_end"]
    typical = values.groupby([*keys, "order"], sort=False)["singular_value"].median()
    for (kind, start, end), rows in jacobians.groupby(keys, sort=False):
        name = f"branch {start}" if kind == "branch" else f"x{start} to x{end}"
        found = [typical.get((kind, start, end, order)) for order in [*range(1, _SHOWN + 1), -1]]
        shape = [str(rows[side].iloc[0]) for side in ("outputs", "inputs")]
        table.add_row(name, *shape, number(rows["mean_square"].median() ** 0.5), *map(number, found))
    return table


def paths_table(paths: pd.DataFrame) -> Table:
    """Return a row a length: how many paths, their mean gradient, and their share."""
    table = plain_table()
    for heading in ("length", "paths", "‖∂E/∂x₀‖ a path", "share", "share to here"):
        table.add_column(heading, justify="right", no_wrap=True)
    typical = paths.groupby("length")[["log_paths", "gradient", "share"]].mean()
    for length, row in typical.assign(below=typical["share"].cumsum()).iterrows():
        count = _count(float(row["log_paths"]))
        parts = ("–" if math.isnan(row[part]) else f"{row[part]:.4f}" for part in ("share", "below"))
        table.add_row(str(length), count, number(row["gradient"]), *parts)
    return table


def lesions_table(lesions: pd.DataFrame) -> Table:
    """Return a row for each unit that was left out, and one for each number of units or pairs."""
    table = plain_table()
    table.add_column("lesion", no_wrap=True)
    for heading in ("loss", "error", "least", "most", "Kendall's τ"):
        table.add_column(heading, justify="right", no_wrap=True)
    named = lesions.assign(name=[_name(row) for row in lesions.to_dict("records")])
    for name, rows in named.groupby("name", sort=False):
        errors = rows["error"]
        tau = rows["kendall_tau"].mean() if rows["lesion"].iloc[0] == "reorder" else None
        table.add_row(
            str(name), *map(number, (rows["loss"].mean(), errors.mean(), errors.min(), errors.max(), tau))
        )
    return table


def _name(row: dict[Any, Any]) -> str:
    if row["lesion"] == "none":
        return "none"
    several = "s" if row["count"] > 1 else ""
    if row["lesion"] == "reorder":
        return f"{row['count']} pair{several} exchanged"
    return f"without {row['count'] if several else 'unit'} {'units' if several else row['units']}"


def _count(logarithm: float) -> str:
    """Return e^logarithm, in full up to a million."""
    if logarithm < math.log(1e6):
        return f"{round(math.exp(logarithm)):,}"
    return f"10^{logarithm / math.log(10):.1f}"
