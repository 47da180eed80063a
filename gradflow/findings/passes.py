"""One pass out of a record: the rows of one iteration, seed and batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

PASS = ["iteration", "seed", "batch_index"]
"""The columns that tell passes apart; any of them may be null."""


def passes_of(frame: pd.DataFrame) -> list[pd.Series[Any]]:
    """Return the passes that `frame` has rows of, in order of appearance."""
    return [row for _, row in frame[PASS].drop_duplicates().iterrows()]


def of_pass(frame: pd.DataFrame, one: pd.Series[Any]) -> pd.DataFrame:
    """Return the rows of one iteration, seed and batch."""
    same = [
        (frame[key] == one[key]).fillna(value=False) | (frame[key].isna() & pd.isna(one[key])) for key in PASS
    ]
    rows: pd.DataFrame = frame[np.logical_and.reduce(same)].reset_index(drop=True)
    return rows
