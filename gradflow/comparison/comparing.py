"""Two records beside each other, unit by unit: what differs, by how much, and whether seeds explain it.

A network's units are not independent of each other, so the repetitions are what an interval is over:
seeds, or batches where there is one seed. Many units are looked at together, so their intervals are one
band, wide enough to hold all of them at once; and a comparison tests one number, declared here and not
chosen after the fact (`Summary`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradflow.comparison.comparability import differences_in_measuring
from gradflow.comparison.pairing import common_units, matrix
from gradflow.comparison.resampling import Summary, band, summarise
from gradflow.errors import ComparisonError
from gradflow.record import Record
from gradflow.statistics import is_geometric, last_iteration, with_shares

ENOUGH = 10
"""Repetitions that an interval should rest on; with fewer it is given, and said to rest on few."""

QUANTITIES = ("grad_in_norm", "x_norm", "backward_shortcut_share", "forward_branch_share", "backward_cosine")
"""Columns that may be compared, `gradflow.statistics.with_shares` included."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two records A and B.

    Attributes:
        quantity: the column.
        geometric: whether `change` is a ratio, B over A, and averages are geometric means; else a difference.
        paired: whether the repetitions are the same ones in both: the same seeds and batches.
        repetitions: how many in A and in B.
        units: one row a unit: `unit`, `name`, `stage`, `a`, `b`, `change`, `low`, `high` (a band that holds
            all units at once with 95 %; NaN without repetitions), `differs` (whether the band is clear of
            no change).
        summary: the one number that is tested.
        remarks: what a reader has to know, a sentence each.
    """

    quantity: str
    geometric: bool
    paired: bool
    repetitions: tuple[int, int]
    units: pd.DataFrame
    summary: Summary
    remarks: list[str]


def compare_records(first: Record, second: Record, quantity: str = "grad_in_norm") -> Comparison:
    """Compare two records unit by unit, in their last iterations.

    Units are paired by number where both have as many, and by name where they do not.

    Args:
        first: A.
        second: B.
        quantity: one of `QUANTITIES`.

    Raises:
        ComparisonError: if they were measured on other data, with another batch size, BN mode or loss, if
            they have no units in common, or the quantity is not one of these or nowhere finite in both.
    """
    if quantity not in QUANTITIES:
        raise ComparisonError(f"cannot compare {quantity!r}; choose one of {', '.join(QUANTITIES)}")
    if differences := differences_in_measuring(first.meta, second.meta):
        raise ComparisonError(
            f"these runs cannot be compared number by number; they differ in {'; in '.join(differences)}"
        )
    tables = [last_iteration(record.units) for record in (first, second)]
    common, key, remarks = common_units(*tables)
    geometric = is_geometric(quantity)
    by_repetition = [
        matrix(with_shares(table), key, list(common[key]), quantity, geometric) for table in tables
    ]
    a, b = (table.to_numpy() for table in by_repetition)
    known = np.isfinite(a).all(axis=0) & np.isfinite(b).all(axis=0)
    if not known.any():
        raise ComparisonError(f"{quantity} is null or not finite in every unit of one of the runs")
    if not known.all():
        remarks.append(f"{int((~known).sum())} units are left out: {quantity} is null or not finite there")
    common, a, b = common[known], a[:, known], b[:, known]
    first_keys, second_keys = (list(table.index) for table in by_repetition)
    paired = first_keys == second_keys and len(a) > 1
    repetitions = len(a), len(b)
    if min(repetitions) < ENOUGH:
        remarks.append(_few(repetitions))
    low, high = band(a, b, paired=paired)
    means = a.mean(axis=0), b.mean(axis=0)
    back: Callable[[Any], Any] = np.exp if geometric else np.asarray
    units = common.assign(
        a=back(means[0]),
        b=back(means[1]),
        change=back(means[1] - means[0]),
        low=back(low),
        high=back(high),
        differs=(low > 0) | (high < 0),
    )
    summary = summarise(a, b, paired=paired, geometric=geometric)
    return Comparison(
        quantity, geometric, paired, repetitions, units.reset_index(drop=True), summary, remarks
    )


def _few(repetitions: tuple[int, int]) -> str:
    if min(repetitions) < 2:
        return "there is one repetition, so there is no interval; probe several seeds (--seeds 0-9)"
    return f"the intervals rest on {min(repetitions)} repetitions; {ENOUGH} or more would be better"
