"""Results on standard output, as a table, as one JSON object, or as CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pandas as pd
from rich.text import Text

from gradflow.cli.depth_plot import plot_by_depth
from gradflow.cli.path_tables import lesions_table, paths_table, spectrum_table
from gradflow.cli.tables import (
    checks_table,
    failure_lines,
    finding_lines,
    number,
    print_blocks,
    terminal_width,
)
from gradflow.cli.unit_table import typical_units, units_caption, units_table
from gradflow.findings import findings

if TYPE_CHECKING:
    from gradflow.record import Record


def print_units(record: Record, form: str, *, folded: bool = True) -> None:
    """Print the record's units and what they mean, or with `json` all of the record.

    Args:
        record: what was measured.
        form: `table`, `json` or `csv`.
        folded: whether a table of many units has a row a stage.
    """
    if form == "json":
        print_json(record.to_json())
    elif form == "csv":
        print_csv(record.units)
    else:
        typical = typical_units(record.units)
        drawing = plot_by_depth(typical, terminal_width())
        print_blocks(
            Text(summary(record.meta) + "\n"),
            units_table(typical, folded=folded),
            Text("\n" + units_caption(record.units, typical, folded=folded)),
            *([Text("\n" + "\n".join(drawing), no_wrap=True)] if drawing else []),
            Text("\nFindings"),
            *(Text(f"- {sentence}") for sentence in findings(record)),
        )


def print_checks(record: Record, form: str) -> None:
    """Print the record's checks; spans are pairs [l, L] in JSON."""
    if form == "json":
        rows = record.to_json()["checks"]
        for row in rows:
            row["span"] = [row.pop("span_start"), row.pop("span_end")]
        print_json({"checks": rows})
    elif form == "csv":
        print_csv(record.checks)
    else:
        remarks = [*failure_lines(record.checks), *finding_lines(record.checks)]
        print_blocks(
            Text(summary(record.meta) + "\n"),
            checks_table(record.checks),
            Text(""),
            *map(Text, remarks),
        )


def print_singular_values(record: Record, form: str) -> None:
    """Print the singular values, or with `json` the Jacobians too."""
    if form == "json":
        document = record.to_json()
        print_json({table: document.get(table, []) for table in ("jacobians", "singular_values")})
    elif form == "csv":
        print_csv(record.singular_values)
    else:
        print_blocks(
            Text(summary(record.meta) + "\n"),
            spectrum_table(record.jacobians, record.singular_values),
            Text("\nσ: singular values, largest first; rms: root of the mean σ² over the directions of x"),
        )


def print_paths(record: Record, form: str) -> None:
    """Print the gradient by length of path."""
    if form == "json":
        print_json({"paths": record.to_json()["paths"]})
    elif form == "csv":
        print_csv(record.paths)
    else:
        print_blocks(
            Text(summary(record.meta) + "\n"),
            paths_table(record.paths),
            Text("\nshare: of the sum of the gradient norms of all paths"),
        )


def print_lesions(record: Record, form: str) -> None:
    """Print the loss and error of each kind of lesion."""
    if form == "json":
        print_json({"lesions": record.to_json()["lesions"]})
    elif form == "csv":
        print_csv(record.lesions)
    else:
        print_blocks(Text(summary(record.meta) + "\n"), lesions_table(record.lesions))


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object and nothing else."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_csv(frame: pd.DataFrame) -> None:
    """Print a frame as CSV with a header; null is an empty cell."""
    click.echo(frame.to_csv(index=False), nl=False)


def summary(meta: dict[str, Any]) -> str:
    """Return in two lines what was measured, on what, and the loss."""
    weights = "untrained"
    if meta["checkpoint"]:  # of an earlier iteration of a training run there is no file
        weights = meta["checkpoint"].get("name") or f"iteration {meta['checkpoint'].get('iteration')}"
    seeds = meta["seeds"]
    data = meta["data"].get("name") or "data without a name"
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds"
    return (
        f"{meta['model']['name']} ({weights}, {which}) on {data}, "
        f"batch {meta['batch_size']}, bn {meta['bn']}, {meta['dtype']}\n"
        f"loss: {meta['loss']['name']} {number(meta['loss']['value'])}"
    )
