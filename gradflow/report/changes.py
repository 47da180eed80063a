"""Each run of a report against the first one, number by number, where they were measured alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradflow.comparison import compare_records, describe
from gradflow.errors import ComparisonError
from gradflow.plots import Compared
from gradflow.report.runs import Run


@dataclass(frozen=True)
class Change:
    """One run against the first.

    Attributes:
        index: the run's number in the report.
        compared: what is drawn.
        sentences: what it says.
    """

    index: int
    compared: Compared
    sentences: list[str]


def compare_with_first(runs: Sequence[Run]) -> tuple[list[Change], list[str]]:
    """Compare the gradient norms of every run but the first with the first run's.

    Returns:
        the comparisons, and in words why some runs are not compared.
    """
    changes: list[Change] = []
    refusals: list[str] = []
    for index, run in enumerate(runs[1:], start=1):
        try:
            comparison = compare_records(runs[0].record, run.record)
        except ComparisonError as error:
            refusals.append(f"{run.label} is not compared number by number with {runs[0].label}: {error}.")
            continue
        compared = Compared(comparison, run.label, index, runs[0].label)
        changes.append(Change(index, compared, describe(comparison, runs[0].label, run.label)))
    return changes, refusals
