"""A comparison on standard output: a table that fits 80 columns and what it says, JSON, or CSV."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.table import Table
from rich.text import Text

from gradflow.cli.printing import print_csv, print_json
from gradflow.cli.tables import number, plain_table, print_blocks
from gradflow.cli.unit_table import UNITS_AT_MOST
from gradflow.comparison import describe, describe_repetitions

if TYPE_CHECKING:
    from gradflow.comparison import Comparison

_MARK = "*"


def print_comparison(comparison: Comparison, names: list[str], form: str, *, folded: bool = True) -> None:
    """Print a comparison.

    Args:
        comparison: of two records.
        names: what they are called.
        form: `table`, `json` (the whole of it), or `csv` (the units).
        folded: whether a table of more than `UNITS_AT_MOST` units has a row a stage.
    """
    if form == "json":
        print_json(_document(comparison, names))
    elif form == "csv":
        print_csv(comparison.units)
    else:
        change = "B / A" if comparison.geometric else "B − A"
        caption = f"\nA: {names[0]}, B: {names[1]}; {comparison.quantity}"
        banded = bool(comparison.units["low"].notna().any())
        over = describe_repetitions(comparison)
        band = f"a band of 95 % that holds {change} of all units at once,\nover {over}"
        if folded and len(comparison.units) > UNITS_AT_MOST:
            table = _stage_table(comparison.units, change, banded=banded)
            caption += ", in the median unit of each stage"
            caption += f"\nclear: of no change, in {band}" if banded else ""
        else:
            table = _table(comparison.units, change, banded=banded)
            caption += f"\nfrom, to: {band}\n{_MARK}: it is clear of no change" if banded else ""
        print_blocks(table, Text(f"{caption}\n"), *map(Text, describe(comparison, *names)))


def _table(units: pd.DataFrame, change: str, *, banded: bool) -> Table:
    table = plain_table()
    table.add_column("unit", justify="right")
    table.add_column("name", overflow="ellipsis", no_wrap=True, min_width=8)
    columns = ("a", "b", "change", "low", "high") if banded else ("a", "b", "change")
    for heading in ("A", "B", change, "from", "to")[: len(columns)]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in units.to_dict("records"):
        values = (row[column] for column in columns)
        table.add_row(
            str(row["unit"]), str(row["name"]), *map(number, values), _MARK if row["differs"] else ""
        )
    return table


def _stage_table(units: pd.DataFrame, change: str, *, banded: bool) -> Table:
    table = plain_table()
    table.add_column("stage", justify="right")
    table.add_column("units", no_wrap=True)
    for heading in ("A", "B", change, "least", "most", *(("clear",) if banded else ())):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage, rows in units.groupby("stage", sort=True, dropna=False):
        changes = rows["change"]
        values = (rows["a"].median(), rows["b"].median(), changes.median(), changes.min(), changes.max())
        table.add_row(
            str(stage),
            f"{rows['unit'].iloc[0]} to {rows['unit'].iloc[-1]}",
            *map(number, values),
            *([f"{int(rows['differs'].sum())} of {len(rows)}"] if banded else []),
        )
    return table


def _document(comparison: Comparison, names: list[str]) -> dict[str, Any]:
    """Return the comparison in JSON's types: null for NaN."""
    return {
        "runs": names,
        "quantity": comparison.quantity,
        "change": "ratio" if comparison.geometric else "difference",
        "paired": comparison.paired,
        "repetitions": list(comparison.repetitions),
        "over": list(map(str, comparison.over)),
        "decides": comparison.decides,
        "summary": {name: _plain(value) for name, value in asdict(comparison.summary).items()},
        "units": [
            {str(name): _plain(value) for name, value in row.items()}
            for row in comparison.units.to_dict("records")
        ],
        "sentences": describe(comparison, *names),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if pd.isna(value) or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value.item() if hasattr(value, "item") else value
