"""Two records beside each other, unit by unit: what differs, by how much, and whether seeds explain it.

A network's units are not independent of each other, so repetitions are what an interval is over: seeds,
each of which is a network, or batches of one network, which say nothing of other networks. Many units are
looked at together, so their intervals are one band, wide enough to hold all of them at once (`bands`); and a
comparison tests one number, declared here and not chosen after the fact (`Summary`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradflow.comparison.bands import band
from gradflow.comparison.comparability import differences_in_measuring, how_to_measure_alike
from gradflow.comparison.pairing import changes_along_depth, common_units, matrix
from gradflow.comparison.resampling import Summary, summarise
from gradflow.errors import ComparisonError
from gradflow.record import Record
from gradflow.repetitions import ENOUGH, Repetitions, find_repetitions
from gradflow.statistics import is_geometric, last_iteration, with_shares

QUANTITIES = ("grad_in_norm", "x_norm", "backward_shortcut_share", "forward_branch_share", "backward_cosine")
"""Columns that may be compared, `gradflow.statistics.with_shares` included."""

_ALONG_DEPTH: dict[str, Literal["gradient", "signal"]] = {"grad_in_norm": "gradient", "x_norm": "signal"}
"""Norms, of which the change along depth is tested; of everything else the mean over units."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two records A and B.

    Attributes:
        quantity: the column.
        geometric: whether `change` is a ratio, B over A, and averages are geometric means; else a difference.
        paired: whether the repetitions are the same ones in both: the same seeds and batches.
        over: what is repeated in A and in B, and how often.
        units: one row a unit: `unit`, `name`, `stage`, `a`, `b`, `change`, `low`, `high` (a band that holds
            all units at once with 95 %; NaN with fewer than `ENOUGH` repetitions), `differs` (whether the
            band is clear of no change).
        summary: the one number that is tested.
        remarks: what a reader has to know, a sentence each.
    """

    quantity: str
    geometric: bool
    paired: bool
    over: tuple[Repetitions, Repetitions]
    units: pd.DataFrame
    summary: Summary
    remarks: list[str]

    @property
    def repetitions(self) -> tuple[int, int]:
        """How many repetitions there are in A and in B."""
        return self.over[0].count, self.over[1].count

    @property
    def decides(self) -> bool:
        """Whether both have enough networks to say what chance does not explain."""
        return all(each.decide for each in self.over)


def compare_records(first: Record, second: Record, quantity: str = "grad_in_norm") -> Comparison:
    """Compare two records unit by unit, in their last iterations.

    Units are paired by number where both have as many, and by name where they do not. The change along
    depth is that of each whole network.

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
            f"these runs cannot be compared number by number; they differ in {'; in '.join(differences)}; "
            f"{how_to_measure_alike(first.meta, second.meta)}"
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
    over = find_repetitions(first), find_repetitions(second)
    first_keys, second_keys = (list(table.index) for table in by_repetition)
    paired = first_keys == second_keys and len(a) > 1 and over[0].of == over[1].of
    trained = any(record.meta["checkpoint"] is not None for record in (first, second))
    remarks += _reservations(over, trained=trained)
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
    one, other = (
        np.asarray(
            changes_along_depth(table, _ALONG_DEPTH[quantity]) if geometric else values.mean(axis=1),
            np.float64,
        )
        for table, values in zip(tables, (a, b), strict=True)
    )
    networks = all(each.of == "networks" for each in over)
    summary = summarise(one, other, paired=paired, geometric=geometric, networks=networks)
    return Comparison(quantity, geometric, paired, over, units.reset_index(drop=True), summary, remarks)


def _reservations(over: tuple[Repetitions, Repetitions], *, trained: bool) -> list[str]:
    """Return why nothing is decided, if it is not, and how it would be."""
    how = (
        "it takes networks trained from several seeds, their records stacked (docs/comparing.md)"
        if trained
        else f"gradflow probe --seeds 0-{ENOUGH - 1} measures so many networks"
    )
    if max(each.count for each in over) == 1:
        why = "there is one repetition, so there is no interval, and nothing is decided"
    elif min(each.count for each in over) < ENOUGH:
        counts = " and ".join(dict.fromkeys(map(str, over)))
        why = f"of fewer than {ENOUGH} repetitions ({counts}) there is no interval, and nothing is decided"
    elif any(each.of == "batches" for each in over):
        why = "batches of one network say nothing of others of its kind, so nothing is decided about these"
    else:
        return []
    return [f"{why}; {how}"]
