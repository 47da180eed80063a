"""`gradflow probe --explain`: why each addition is a unit's, or is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gradflow.cli.printing import print_csv, print_json
from gradflow.cli.tables import plain_table, print_blocks

if TYPE_CHECKING:
    from gradflow.units import FoundUnits, PassedOver, ResidualUnit

COLUMNS = ["index", "stage", "name", "shortcut", "post_activation", "shape"]
EVIDENCE = ["addition", "fork", "shortcut", "branch", "why"]

NAMES_AT_MOST = 4
"""As many modules are named in which additions are passed over for one reason; JSON has them all."""


def print_explanations(found: FoundUnits, form: str) -> None:
    """Print the units that were found and the additions that were passed over, each with its reasons.

    Args:
        found: the units; there may be none.
        form: `table`, `json` or `csv`; CSV has the units alone.
    """
    if form == "json":
        print_json(
            {
                "units": [dataclasses.asdict(unit) for unit in found],
                "passed_over": [dataclasses.asdict(over) for over in found.passed_over],
            }
        )
    elif form == "csv":
        print_csv(pd.DataFrame(map(_flat, found), columns=[*COLUMNS, *(f"why_{name}" for name in EVIDENCE)]))
    else:
        over = len(found.passed_over)
        summary: list[RenderableType] = [found_table(found), Text("")] if found else []
        print_blocks(
            *summary,
            Text(_counted(len(found), "residual unit")),
            *_unit_blocks(found),
            Text(f"\n{_counted(over, 'addition')} passed over{':' if over else ''}"),
            *_passed_over_blocks(found.passed_over),
        )


def found_table(units: Sequence[ResidualUnit]) -> Table:
    """Return a row a unit that was found: what h and f are, and how many parameters F has."""
    table = plain_table()
    for heading, justify in (("unit", "right"), ("stage", "right"), ("name", "left"), ("shortcut", "left")):
        table.add_column(heading, justify=justify, no_wrap=heading != "name")  # type: ignore[arg-type]
    table.add_column("f")
    table.add_column("tensors in F", justify="right")
    for unit in units:
        table.add_row(
            str(unit.index),
            str(unit.stage),
            unit.name,
            unit.shortcut,
            unit.post_activation,
            str(len(unit.branch_parameters)),
        )
    return table


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _flat(unit: ResidualUnit) -> dict[str, Any]:
    row = {name: getattr(unit, name) for name in COLUMNS}
    row["shape"] = " ".join(map(str, unit.shape))
    return row | {f"why_{name}": getattr(unit.explanation, name, None) for name in EVIDENCE}


def _unit_blocks(units: Iterable[ResidualUnit]) -> Iterator[RenderableType]:
    """Yield what is known of each unit."""
    for unit in units:
        yield Text(f"\nunit {unit.index}, {unit.name or 'the model itself'}")
        lines = Table.grid(padding=(0, 2, 0, 0))
        for heading in EVIDENCE:
            lines.add_row(Text(heading), Text(getattr(unit.explanation, heading, "")))
        yield Padding(lines, (0, 0, 0, 2))


def _passed_over_blocks(passed_over: Iterable[PassedOver]) -> Iterator[RenderableType]:
    """Yield each reason, with the places at which it holds and how often."""
    places: dict[tuple[str, str], list[str]] = {}
    for over in passed_over:
        places.setdefault((over.reason, over.where), []).append(over.name or "the model itself")
    for (reason, where), names in places.items():
        distinct = list(dict.fromkeys(names))
        words = ", ".join(distinct[:NAMES_AT_MOST])
        if len(distinct) > NAMES_AT_MOST:
            words += f" and {len(distinct) - NAMES_AT_MOST} more modules"
        often = f", {len(names)} times" if len(names) > 1 else ""
        yield Padding(Text(f"{words}{f' ({where})' if where else ''}{often}:\n  {reason}"), (0, 0, 0, 2))
