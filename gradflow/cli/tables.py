"""Records as tables that fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from rich.console import Console, RenderableType
from rich.table import Table

from gradflow.statistics import summarise_checks


def print_blocks(*blocks: RenderableType) -> None:
    """Print `blocks` to standard output, as wide as the terminal or 80 columns."""
    console = Console(highlight=False)
    for block in blocks:
        console.print(block)


def terminal_width() -> int:
    """Return the columns of the terminal, or 80 where there is none."""
    return Console().width


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
        elif float(str(row.error)) <= float(str(row.tolerance)):
            why = f"error {number(row.error)}, but {row.finding!s}"
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
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")


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


def tail(name: str, width: int) -> str:
    """Return the end of a qualified name, which is the part that differs."""
    return name if len(name) <= width else f"…{name[1 - width :]}"
