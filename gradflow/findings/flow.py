"""Sentences about how the gradient changes along depth, each with its evidence.

Gradients are judged by ratios along depth, never by their size, which depends on the loss, the batch and
the number of elements.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradflow.findings.measured import Measured, Row, rows_of
from gradflow.findings.shares import describe_shares
from gradflow.findings.vanished import describe_vanished
from gradflow.repetitions import find_repetitions
from gradflow.wording import format_factor as factor
from gradflow.wording import format_times as times
from gradflow.wording import name_unit

SAME = 5e-4
"""How near 1 a factor is that does not change anything: it is written ×1.000."""

STAYS = "stays as it is"
"""What is said of such a factor."""


def describe_flow(measured: Measured) -> list[str]:
    """Return the sentences that every network has, as far as its numbers are finite."""
    return [
        *describe_vanished(measured),
        *_gradient_in_stages(measured),
        *_gradient_over_all(measured),
        *_steepest(measured),
        *describe_shares(measured),
    ]


def _gradient_in_stages(measured: Measured) -> list[str]:
    stages = measured.stages[measured.stages["stage"].notna() & np.isfinite(measured.stages["growth"])]
    if stages.empty:
        return []
    each = "; ".join(
        f"stage {row['stage']} ({_span(row)}{_gaps(row, 0)}) to {times(row['ratio'])}, "
        f"that is {times(row['growth'])} a unit{_interval(row, measured)}"
        for row in rows_of(stages)
    )
    verdicts = {_verdict(row) for row in rows_of(stages)}
    verdict = verdicts.pop() if len(verdicts) == 1 else "changes"
    where = "Within each stage, from its last unit's output back to its first's, the gradient norm"
    return [f"{where} {verdict}: {each}."]


def _gradient_over_all(measured: Measured) -> list[str]:
    whole = measured.whole
    if not np.isfinite(whole["ratio"]):
        return []
    units = measured.units["unit"]
    first, last, gaps = whole["first_unit"], whole["last_unit"], _gaps(whole, 1)
    direction = _direction(whole, "ratio")
    to = ", at" if direction == STAYS else " to"
    change = f"{direction}{to} {times(whole['ratio'])}{_interval(whole, measured, 'ratio')}"
    complete = (first, last, gaps) == (units.min(), units.max(), "")
    over = f"all {last - first + 1} units" if complete else f"{_span(whole)}{gaps}"
    begins = "the last unit's output" if last == units.max() else f"unit {last}'s output"
    ends = "the first's input" if first == units.min() else f"unit {first}'s input"
    return [f"Over {over}, from {begins} back to {ends}, transitions between stages included, it {change}."]


def _steepest(measured: Measured) -> Iterator[str]:
    """Yield where the gradient changes most in one unit, if that says more than the rates above."""
    known = measured.units[
        np.isfinite(measured.units["backward_gain"]) & (measured.units["backward_gain"] > 0)
    ]
    if len(known) < 2:
        return
    change = np.abs(np.log(known["backward_gain"].to_numpy(float)))
    row = rows_of(known.iloc[[int(change.argmax())]])[0]
    if abs(row["backward_gain"] - 1) < SAME:
        return
    verb = "grows" if row["backward_gain"] > 1 else "shrinks"
    where = "Where it is not 0, it" if (measured.units["grad_in_norm"] == 0).any() else "It"
    yield f"{where} {verb} most in {name_unit(row)}: {times(row['backward_gain'])}."


def _direction(row: Row, column: str = "growth") -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if all(abs(value - 1) < SAME for value in (row[column], low, high) if np.isfinite(value)):
        return STAYS
    if np.isfinite(low) and low <= 1 <= high:
        return "changes in no direction that the repetitions agree on"
    return "grows" if row[column] > 1 else "shrinks"


def _verdict(row: Row) -> str:
    """Return a stage's direction; where a fit and the ends that it is fitted between differ it has none."""
    fitted, ends = _direction(row), _direction(row, "ratio")
    return ends if fitted in {ends, STAYS} else "changes"


def _span(row: Row) -> str:
    return f"units {row['first_unit']} to {row['last_unit']}"


def _gaps(row: Row, ends: int) -> str:
    """Return how many units between the first and the last have no gradient that a rate could be of.

    Args:
        row: of `statistics.depth_trends`.
        ends: norms that a row without gaps has more than units.
    """
    missing = int(row["last_unit"] - row["first_unit"] + 1 + ends - row["points"])
    return f", {missing} of them without a gradient" if missing > 0 else ""


def _interval(row: Row, measured: Measured, column: str = "growth") -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    over = find_repetitions(measured.record)
    return f" (95\u00a0% interval over {over}: {factor(low)} to {factor(high)})"
