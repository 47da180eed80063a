"""A record's units as a table that fits a terminal of 80 columns, with what stands out marked."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from rich.table import Table

from gradflow.cli.tables import cosine, number, plain_table, tail
from gradflow.findings import BROKEN, GROWS, SHRINKS, find_outliers
from gradflow.stage_ends import ending_at_additions

UNITS_AT_MOST = 60
"""A network with more units is shown with one row a stage: nobody reads 333 rows."""

MARKS = {GROWS: "▲", SHRINKS: "▼", BROKEN: "!"}
"""What stands for each way to stand out."""

_NAMED_AT_MOST = 1
"""Units that a stage's row has room to name; more are counted."""

_KEYS = ["unit", "name", "stage", "shortcut"]
_NUMBERS = [
    "x_norm",
    "grad_in_norm",
    "grad_out_norm",
    "grad_shortcut_norm",
    "grad_branch_norm",
    "forward_cosine",
    "backward_cosine",
]


def typical_units(units: pd.DataFrame) -> pd.DataFrame:
    """Return a row a unit: its medians over seeds and batches, and in `mark` what stands out.

    In `grad_out_mean` is the geometric mean of the gradient at its output, of which changes along depth are.

    Args:
        units: the record's.
    """
    ended = ending_at_additions(units)
    with np.errstate(divide="ignore"):
        ended = ended.assign(log_out=np.log(ended["grad_out_norm"].astype(float)))
    passes = ended.groupby(_KEYS, dropna=False, sort=True)
    typical = passes[_NUMBERS].median().assign(grad_out_mean=np.exp(passes["log_out"].mean())).reset_index()
    return typical.assign(mark=find_outliers(typical).map(MARKS).fillna(""))


def units_table(typical: pd.DataFrame, *, folded: bool = True) -> Table:
    """Return a row a unit, or, if `folded`, a row a stage where there are more than `UNITS_AT_MOST`.

    Args:
        typical: `typical_units`.
        folded: whether many units become stages.
    """
    return _stage_rows(typical) if folded and len(typical) > UNITS_AT_MOST else _unit_rows(typical)


def units_caption(units: pd.DataFrame, typical: pd.DataFrame, *, folded: bool = True) -> str:
    """Return what headings and marks of `units_table` stand for, and of how many passes it is the median."""
    lines = ["‖s‖, ‖b‖: gradient on through shortcut and branch; cosine: between the two"]
    if folded and len(typical) > UNITS_AT_MOST:
        lines.append("first, last: at the outputs of a stage's first and last unit")
    passes = len(units[["iteration", "seed", "batch_index"]].drop_duplicates())
    if passes > 1:
        lines.append(f"median of {passes} passes")
    marks = set(typical["mark"])
    changes = [MARKS[kind] for kind in (GROWS, SHRINKS) if MARKS[kind] in marks]
    if changes:
        ways = {2: "grows or shrinks", 1: "grows" if MARKS[GROWS] in changes else "shrinks"}[len(changes)]
        lines.append(f"{' '.join(changes)}: here the gradient {ways} towards the input unlike in most units")
    if MARKS[BROKEN] in marks:
        lines.append(f"{MARKS[BROKEN]}: the gradient is 0 or not finite")
    return "\n".join(lines)


def _unit_rows(units: pd.DataFrame) -> Table:
    table = plain_table()
    table.add_column("unit", justify="right", no_wrap=True)
    # The one column that gives way; a name has no space, so it is cut and never wrapped.
    table.add_column("name", overflow="ellipsis", min_width=8)
    table.add_column("shortcut", no_wrap=True)
    for heading in ("‖x‖", "‖∂E/∂x‖", "‖s‖", "‖b‖", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in units.itertuples():
        table.add_row(
            str(row.unit),
            tail(str(row.name), 14),
            str(row.shortcut),
            *map(number, (row.x_norm, row.grad_in_norm, row.grad_shortcut_norm, row.grad_branch_norm)),
            cosine(row.backward_cosine),
            str(row.mark),
            style="bold" if row.mark else None,
        )
    return table


def _stage_rows(units: pd.DataFrame) -> Table:
    table = plain_table()
    table.add_column("stage", justify="right", no_wrap=True)
    table.add_column("units", no_wrap=True)
    for heading in ("‖∂E/∂x‖ first", "last", "first/last", "‖b‖/‖s‖", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for stage, rows in units.groupby("stage", sort=True):
        first, last = rows["grad_out_mean"].iloc[0], rows["grad_out_mean"].iloc[-1]
        table.add_row(
            str(stage),
            f"{rows['unit'].iloc[0]} to {rows['unit'].iloc[-1]}",
            number(first),
            number(last),
            number(first / last if last else math.nan),
            number((rows["grad_branch_norm"] / rows["grad_shortcut_norm"]).median()),
            cosine(rows["backward_cosine"].median()),
            _named(rows[rows["mark"] != ""]),
        )
    return table


def _named(marked: pd.DataFrame) -> str:
    """Return the units that stand out, the first few by number."""
    first = [f"{row.mark}{row.unit}" for row in marked.head(_NAMED_AT_MOST).itertuples()]
    more = len(marked) - len(first)
    return " ".join([*first, *([f"+{more}"] if more else [])])
