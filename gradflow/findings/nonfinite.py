"""Where numbers stop being finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gradflow.record import Record

_PASS = ["iteration", "seed", "batch_index"]
_FORWARD = ("x_norm", "shortcut_norm", "branch_norm", "sum_norm", "out_norm")
_ALWAYS = ("branch_norm", "sum_norm", "grad_sum_norm")
"""Columns that every unit has; another may be null in all units because there is no such thing."""

_BACKWARD = ("grad_sum_norm", "grad_out_norm", "grad_shortcut_norm", "grad_branch_norm", "grad_in_norm")


def locate_nonfinite(record: Record) -> str:
    """Say in words where on the way through the network numbers first stop being finite.

    Args:
        record: of one pass in which something is known not to be.
    """
    weights = record.parameters[~np.isfinite(record.parameters["norm"].to_numpy(float))]
    if len(weights):
        return f"the parameter {weights['name'].iloc[0]} is not finite"
    forward, backward = _not_finite(record.units, _FORWARD), _not_finite(record.units, _BACKWARD)
    if len(forward):
        return f"going forward, it began in {_named(forward, 0)}"
    if len(backward):
        return f"going backward, it began in {_named(backward, -1)}"
    return "the units are finite: it began in what follows them"


def describe_nonfinite(record: Record) -> list[str]:
    """Return the sentence about elements that are not finite, if there are any."""
    units = record.units
    affected = units[units["nonfinite"].fillna(0) > 0].sort_values([*_PASS, "unit"], kind="stable")
    if affected.empty:
        return []
    one = affected[_PASS].iloc[0]
    began = locate_nonfinite(
        Record(units=_of_pass(units, one), parameters=_of_pass(record.parameters, one), meta=record.meta)
    )
    elements, count = int(affected["nonfinite"].sum()), len(affected["unit"].unique())
    first = _named(affected.sort_values("unit", kind="stable"), 0)
    where = f"in {count} of {len(units['unit'].unique())} units, first in {first}"
    return [f"{elements:,} elements were NaN or infinite, {where}: {began}. What depends on them is null."]


def _of_pass(frame: pd.DataFrame, keys: pd.Series[Any]) -> pd.DataFrame:
    """Return the rows of one iteration, seed and batch; a key may be null."""
    same = [
        (frame[key] == keys[key]).fillna(value=False) | (frame[key].isna() & pd.isna(keys[key]))
        for key in _PASS
    ]
    rows: pd.DataFrame = frame[np.logical_and.reduce(same)].reset_index(drop=True)
    return rows


def _not_finite(units: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows that have non-finite elements, and a column that units have but that is null here."""
    known = [column for column in columns if column in _ALWAYS or not units[column].isna().all()]
    null = (~np.isfinite(units[known].to_numpy(float))).any(axis=1)
    rows: pd.DataFrame = units[null & (units["nonfinite"].fillna(0) > 0).to_numpy(bool)]
    return rows


def _named(rows: pd.DataFrame, place: int) -> str:
    row = rows.to_dict("records")[place]
    return f"unit {row['unit']} ({row['name']})"
