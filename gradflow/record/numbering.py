"""Whether the rows of a record's units can be told apart: each has a number of its own in its pass."""

from __future__ import annotations

import pandas as pd

from gradflow.errors import RecordError

_PASS = ["iteration", "seed", "batch_index"]


def validate_units(units: pd.DataFrame) -> None:
    """Check that in every iteration, seed and batch each unit has a number of its own.

    Two rows of one number would be averaged as if they were repetitions of one unit.

    Args:
        units: a record's table of units.

    Raises:
        RecordError: if a number is missing or negative, or two rows of one pass have the same.
    """
    number = units["unit"]
    if number.isna().any():
        raise RecordError(f"the table 'units' has {int(number.isna().sum())} rows without a unit's number")
    if (number < 0).any():
        raise RecordError(f"the table 'units' has unit {number.min()}: units are counted from 0")
    repeated = units.duplicated([*_PASS, "unit"])
    if repeated.any():
        first = units[repeated].iloc[0]
        told = ", ".join(
            f"{word} {first[name]}"
            for word, name in (("iteration", "iteration"), ("seed", "seed"), ("batch", "batch_index"))
            if not pd.isna(first[name])
        )
        raise RecordError(
            f"the table 'units' holds unit {first['unit']} more than once"
            + (f" in {told}" if told else "")
            + ": a unit's number must be its own"
        )
