"""Runs of a report against each other, number by number, where they were measured alike.

Runs that were measured alike are a group, and each of a group is compared with its first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradflow.comparison import compare_records, describe, differences_in_measuring, how_to_measure_alike
from gradflow.errors import ComparisonError
from gradflow.plots import Compared
from gradflow.report.runs import Run


@dataclass(frozen=True)
class Change:
    """One run against the first one that it can be compared with.

    Attributes:
        index: the run's number in the report.
        baseline: the other's.
        compared: what is drawn.
        sentences: what it says.
    """

    index: int
    baseline: int
    compared: Compared
    sentences: list[str]


def compare_alike(runs: Sequence[Run]) -> tuple[list[Change], list[str]]:
    """Compare the gradient norms of every run with those of the first one that was measured alike.

    Returns:
        the comparisons; and in words which runs were compared with which, if not all with one, and why
        some are compared with none.
    """
    changes: list[Change] = []
    firsts: list[int] = []
    for index in range(len(runs)):
        change = next(filter(None, (_compare(runs, first, index) for first in firsts)), None)
        if change is None:
            firsts.append(index)
        else:
            changes.append(change)
    groups = {first: [each.index for each in changes if each.baseline == first] for first in firsts}
    if len(firsts) < 2:
        return changes, []
    remarks = [
        f"Measured alike, and compared number by number: {', '.join(runs[one].label for one in others)} with "
        f"{runs[first].label}."
        for first, others in groups.items()
        if others
    ]
    remarks += [
        _why_alone(runs[first], runs[firsts[1] if first == firsts[0] else firsts[0]])
        for first, others in groups.items()
        if not others
    ]
    return changes, remarks


def _compare(runs: Sequence[Run], first: int, index: int) -> Change | None:
    baseline, run = runs[first], runs[index]
    try:
        comparison = compare_records(baseline.record, run.record)
    except ComparisonError:
        return None
    compared = Compared(comparison, run.label, index, baseline.label)
    return Change(index, first, compared, describe(comparison, baseline.label, run.label))


def _why_alone(run: Run, other: Run) -> str:
    """Return what keeps a run from being compared with `other`, the first one of others."""
    said = f"{run.label} is compared number by number with no other run"
    if differences := differences_in_measuring(other.meta, run.meta):
        advice = how_to_measure_alike(other.meta, run.meta)
        return f"{said}. From {other.label} it differs in {'; in '.join(differences)}: {advice}."
    try:
        compare_records(other.record, run.record)
    except ComparisonError as error:
        return f"{said}. With {other.label}: {error}."
    return f"{said}."
