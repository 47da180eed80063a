"""Tables in Markdown, and numbers with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gradflow.plots import format_number


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table with one line a row."""
    return "\n".join([table_line(heads), "|---" * len(heads) + "|", *map(table_line, rows)])


def table_line(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def with_interval(row: Mapping[Any, Any], column: str = "value", digits: int = 3) -> str:
    """Return the number in `column` of `row`, with its interval if it has one."""
    value, low, high = (float(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
    interval = f" [{format_number(low, digits)}, {format_number(high, digits)}]" if np.isfinite(low) else ""
    return f"{format_number(value, digits)}{interval}"


def to_csv(frame: pd.DataFrame) -> bytes:
    """Return `frame` as a file, to five digits."""
    return frame.to_csv(index=False, float_format="%.5g").encode()
