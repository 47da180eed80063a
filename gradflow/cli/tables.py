"""Records as tables that fit a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd
from rich.console import Console, RenderableType
from rich.table import Table

from gradflow.statistics import summarise_checks

UNITS_AT_MOST = 60
"""A network with more units is shown with one row a stage: nobody reads 333 rows."""


def print_blocks(*blocks: RenderableType) -> None:
    """Print `blocks` to standard output, as wide as the terminal or 80 columns."""
    console = Console(highlight=False)
    for block in blocks:
        console.print(block)


def units_table(units: pd.DataFrame, *, folded: bool = True) -> Table:
    """Return a row a unit, or, if `folded`, a row a stage where there are more than `UNITS_AT_MOST`.

    Several seeds or batches are shown by their median.
    """
    keys = ["unit", "name", "stage", "shortcut"]
    numbers = [
        "x_norm",
        "grad_in_norm",
        "grad_shortcut_norm",
        "grad_branch_norm",
        "forward_cosine",
        "backward_cosine",
    ]
    typical = units.groupby(keys, dropna=False, sort=True)[numbers].median().reset_index()
    return _stage_rows(typical) if folded and len(typical) > UNITS_AT_MOST else _unit_rows(typical)


def units_caption(units: pd.DataFrame) -> str:
    """Return what the headings of `units_table` stand for, and of how many passes it is the median."""
    caption = "‖s‖, ‖b‖: gradient on through shortcut and branch; cosine: between the two"
    passes = len(units[["iteration", "seed", "batch_index"]].drop_duplicates())
    return f"{caption}\nmedian of {passes} passes" if passes > 1 else caption


def _unit_rows(units: pd.DataFrame) -> Table:
    table = plain_table()
    table.add_column("unit", justify="right")
    table.add_column("name", overflow="ellipsis", no_wrap=True, min_width=8)
    table.add_column("shortcut", no_wrap=True)
    for heading in ("‖x‖", "‖∂E/∂x‖", "‖s‖", "‖b‖", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in units.itertuples():
        table.add_row(
            str(row.unit),
            _tail(str(row.name), 16),
            str(row.shortcut),
            *map(number, (row.x_norm, row.grad_in_norm, row.grad_shortcut_norm, row.grad_branch_norm)),
            cosine(row.backward_cosine),
        )
    return table


def _stage_rows(units: pd.DataFrame) -> Table:
    table = plain_table()
    table.add_column("stage", justify="right")
    table.add_column("units", no_wrap=True)
    for heading in ("‖∂E/∂x‖ first", "last", "first/last", "‖b‖/‖s‖", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage, rows in units.groupby("stage", sort=True):
        first, last = rows["grad_in_norm"].iloc[0], rows["grad_in_norm"].iloc[-1]
        table.add_row(
            str(stage),
            f"{rows['unit'].iloc[0]} to {rows['unit'].iloc[-1]}",
            number(first),
            number(last),
            number(first / last if last else math.nan),
            number((rows["grad_branch_norm"] / rows["grad_shortcut_norm"]).median()),
            cosine(rows["backward_cosine"].median()),
        )
    return table


def checks_table(checks: pd.DataFrame) -> Table:
    """Return a row for each equation, form, dtype and expectation: how many spans, and the worst of them.

    Error and what it may be at most are relative to the norms of the terms. The last column is the
    smallest relative change of a term that every one of these checks would catch.
    """
    table = plain_table()
    for heading, justify in (
        ("eq.", "right"),
        ("form", "left"),
        ("dtype", "left"),
        ("hold", "right"),
        ("worst", "right"),
        ("error", "right"),
        ("at most", "right"),
        ("detects", "right"),
        ("verdict", "left"),
    ):
        table.add_column(heading, justify=justify, no_wrap=heading not in {"form", "verdict"})  # type: ignore[arg-type]
    for row in summarise_checks(checks).itertuples():
        table.add_row(
            str(row.equation),
            str(row.form),
            str(row.dtype),
            f"{row.held}/{row.checks}",
            f"{row.span_start}–{row.span_end}",
            number(row.error),
            number(row.tolerance),
            number(row.detectable),
            "FAILED" if row.verdict == "fails" else str(row.verdict),
        )
    return table


def failure_lines(checks: pd.DataFrame, limit: int = 10) -> Iterable[str]:
    """Yield a line for each check that was expected to hold and did not, at most `limit`."""
    failed = failed_checks(checks)
    for row in failed.head(limit).itertuples():
        why = f"error {number(row.error)} exceeds {number(row.tolerance)}"
        if number(row.error) == "–":
            why = f"no error: {row.finding!s}"
        where = f"from unit {row.span_start} to {row.span_end}"
        yield f"eq. {row.equation} ({row.form}, {row.dtype}) {where}: {why}"
    if len(failed) > limit:
        yield f"and {len(failed) - limit} more; --format json lists them"


def failed_checks(checks: pd.DataFrame) -> pd.DataFrame:
    """Return the checks that were expected to hold and did not; not comparable counts as not held."""
    expected = checks["expected_to_hold"].fillna(value=False).astype(bool)
    return checks[expected & ~checks["holds"].fillna(value=False).astype(bool)]


def finding_lines(checks: pd.DataFrame) -> Iterable[str]:
    """Yield each reason why an equation is not expected to hold, and how many spans have it."""
    unexpected = checks[~checks["expected_to_hold"].fillna(value=False).astype(bool)]
    for finding, rows in unexpected.groupby("finding", sort=False):
        yield f"not expected to hold on {len(rows)} span{'s' if len(rows) > 1 else ''}: {finding}"


def plain_table() -> Table:
    """Return an empty table without lines, so that 80 columns hold as much as they can."""
    return Table(box=None, padding=(0, 2, 0, 0), header_style="bold")


def number(value: object) -> str:
    """Return `value` with three significant digits in at most nine characters; a dash for null."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return "–"
    size = float(value)  # type: ignore[arg-type]
    if size == 0 or 0.001 <= abs(size) < 1_000:
        return f"{size:.3g}"
    return f"{size:.1e}"


def cosine(value: object) -> str:
    """Return a cosine with its sign and three decimals; a dash for null."""
    return "–" if pd.isna(value) else f"{float(value):+.3f}"  # type: ignore[call-overload, arg-type]


def _tail(name: str, width: int) -> str:
    """Return the end of a qualified name, which is the part that differs."""
    return name if len(name) <= width else f"…{name[1 - width :]}"
