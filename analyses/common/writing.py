"""What an analysis writes: figures in three formats, tables, a page, and how it was all made.

Figures can be drawn again from what was measured before. Numbers may not change then: tables are made again
from what was kept, and must be, byte for byte, those that are there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import provenance
from matplotlib.figure import Figure

from gradflow.errors import RecordError
from gradflow.plots import figure_to_pdf, figure_to_png, figure_to_svg
from gradflow.record.files import explained

_PROVENANCE = "provenance.json"
_PAGE = "README.md"


@dataclass(frozen=True)
class Result:
    """An analysis's output.

    Attributes:
        figures: by name.
        tables: CSV files by name.
        told: the provenance of the numbers.
        page: the page of findings, in Markdown; None leaves the one that is there.
        others: files that only measuring makes.
    """

    figures: Mapping[str, Figure]
    tables: Mapping[str, bytes]
    told: Mapping[str, Any]
    page: str | None
    others: Mapping[str, bytes] = field(default_factory=dict)


def write_result(out: Path, result: Result, *, redraw: bool) -> None:
    """Write `result` to `out`; with `redraw` what was drawn and worded, the numbers being as they were.

    The provenance is then still that of the numbers. Under `drawn` it says what drew the figures, and
    which tables are new: they were computed from what the numbers were computed from.

    Raises:
        RecordError: if `out` cannot be written, or if to draw anew would change a number.
    """
    files = {name: content for one in _drawn(result.figures) for name, content in one.items()}
    told = dict(result.told)
    if redraw:
        new = require_same(out, result.tables)
        told = _read(out) | {"drawn": _drawing(new, out)}
    else:
        files |= dict(result.others)
    files |= dict(result.tables)
    if result.page is not None:
        files[_PAGE] = result.page.encode()
    files[_PROVENANCE] = provenance.to_json(told)
    provenance.write_output(out, files)


def require_same(out: Path, tables: Mapping[str, bytes]) -> list[str]:
    """Check that every one of `tables` that is in `out` is the same there.

    Returns:
        The names of those that are not there yet.

    Raises:
        RecordError: if one differs, or none is there.
    """
    with explained(out):
        there = {name: (out / name).read_bytes() for name in tables if (out / name).is_file()}
    if not there:
        raise RecordError(f"'{out}' holds no table yet: leave out --redraw")
    for name, content in there.items():
        if content != tables[name]:
            raise RecordError(
                f"'{out / name}' was made from other measurements than those under --work: give the "
                "directory that it was made from, or leave out --redraw"
            )
    return [name for name in tables if name not in there]


def _drawn(figures: Mapping[str, Figure]) -> list[dict[str, bytes]]:
    return [
        {
            f"{name}.svg": figure_to_svg(figure),
            f"{name}.png": figure_to_png(figure),
            f"{name}.pdf": figure_to_pdf(figure),
        }
        for name, figure in figures.items()
    ]


def _drawing(new: list[str], out: Path) -> dict[str, Any]:
    told = provenance.describe_machine(["python", *sys.argv])
    before = _read(out).get("drawn", {}).get("tables", [])
    tables = sorted({*before, *new})
    return {name: told[name] for name in ("command", "written", "versions")} | (
        {"tables": tables} if tables else {}
    )


def _read(out: Path) -> dict[str, Any]:
    with explained(out):
        found: dict[str, Any] = json.loads((out / _PROVENANCE).read_bytes())
    return found
