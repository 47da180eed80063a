"""The reference page of the record's format, made from the schema so that it cannot lag behind."""

from __future__ import annotations

from collections.abc import Sequence

from gradflow.record.metadata import META, Key
from gradflow.record.schema import SCHEMA_VERSION, TABLES

_PURPOSE = {
    "units": "One row a residual unit, in order of execution, for each iteration, seed and batch.",
    "parameters": "One row a parameter tensor, stem and head included.",
    "checks": "One row an equation and span.",
    "steps": "One row a forward and backward pass.",
    "jacobians": "One row a Jacobian: a unit's branch or a span. Written by `gradflow spectrum` only.",
    "singular_values": "One row a singular value of these. Written by `gradflow spectrum` only.",
    "paths": "One row a length of path through the network. Written by `gradflow paths` only.",
    "lesions": "One row a lesion of the network. Written by `gradflow lesions` only.",
}

_INTRODUCTION = (
    f"Schema version {SCHEMA_VERSION}. A record is a directory: `record.json` with the metadata and the "
    "SHA-256 of every table, and one Parquet file a table. Notation: unit l computes "
    "y_l = h(x_l) + F(x_l) and x_{l+1} = f(y_l); h is the shortcut, F the branch, E the loss. "
    "In JSON a value that is unknown or not finite is null."
)


def schema_markdown() -> str:
    """Return the documentation of metadata and columns as Markdown, ready for the docs."""
    lines = [
        "# The record",
        "",
        _INTRODUCTION,
        "",
        "## Metadata",
        "",
        "| Key | Type | Meaning |",
        "|---|---|---|",
    ]
    lines += _key_rows(META, "")
    for table, columns in TABLES.items():
        lines += ["", f"## `{table}`", "", _PURPOSE[table], "", "| Column | Type | Unit | Meaning |"]
        lines.append("|---|---|---|---|")
        lines += [
            f"| `{column.name}` | {column.kind} | {_cell(column.unit) or '–'} | {_cell(column.meaning)} |"
            for column in columns
        ]
    return "\n".join(lines) + "\n"


def _key_rows(keys: Sequence[Key], inside: str) -> list[str]:
    """Return a row a key, and below it those of what it holds."""
    rows: list[str] = []
    for key in keys:
        path = f"{inside}{key.name}"
        meaning = key.meaning if key.required else f"{key.meaning} (may be absent)"
        rows.append(f"| `{path}` | {key.told_types} | {_cell(meaning)} |")
        rows += _key_rows(key.parts, f"{path}.")
        if key.each is not None:
            rows += _key_rows(key.each.parts, f"{path}[].")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
