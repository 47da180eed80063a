"""What the numbers mean, in plain words: sentences about one run, and about runs beside each other.

Gradients are judged by ratios along depth, never by their size, which depends on the loss, the batch and
the number of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
import pandas as pd

from gradflow.findings import Measured, Row, describe_flow, describe_troubles
from gradflow.report.path_findings import describe_lesions, describe_paths, describe_spectrum
from gradflow.report.runs import Run
from gradflow.report.theory_findings import describe_theory
from gradflow.wording import format_number as number
from gradflow.wording import format_percent as percent
from gradflow.wording import format_times as times


def describe_run(run: Run) -> list[str]:
    """Return the sentences about one run."""
    measured = _measured(run)
    sentences = [
        *describe_flow(measured),
        *describe_troubles(measured),
        *_equations(run),
        *describe_theory(run.theory),
        *describe_spectrum(run.network),
        *describe_paths(run.record),
        *describe_lesions(run.network),
        *run.nonfinite,
    ]
    return sentences or ["Nothing was finite, so there is nothing to say about this run."]


def compare_runs(runs: Sequence[Run]) -> list[str]:
    """Return the sentences about runs beside each other; their numbers are in `tables.comparison_table`."""
    growing = [(run, whole) for run in runs if np.isfinite((whole := _measured(run).whole)["growth"])]
    if len(growing) < 2:
        return []
    in_all, a_unit = _extremes(growing, "ratio", _in_all), _extremes(growing, "growth", _a_unit)
    sentences = [
        f"From the last unit's output to the first's input, the gradient norm changes {in_all}.",
        f"By the factor a unit that is fitted along depth, it changes {a_unit}.",
    ]
    shares = [
        (run, share) for run in runs if np.isfinite(share := _measured(run).whole["backward_shortcut_share"])
    ]
    if len(shares) > 1:
        most, least = (pick(shares, key=itemgetter(1)) for pick in (max, min))
        sentences.append(
            "The shortcut's share of the gradient's energy, in the median unit, is largest in "
            f"{most[0].label}, {percent(most[1])}, and smallest in {least[0].label}, {percent(least[1])}."
        )
    return sentences


def _extremes(growing: Sequence[tuple[Run, Row]], column: str, told: Callable[[Row], str]) -> str:
    """Return in which run `column` is farthest from 1, and in which nearest."""
    by_change = sorted(growing, key=lambda pair: abs(float(np.log(pair[1][column]))))
    (flattest, least), (steepest, most) = by_change[0], by_change[-1]
    return f"most in {steepest.label} ({told(most)}), least in {flattest.label} ({told(least)})"


def _in_all(whole: Row) -> str:
    return f"{times(whole['ratio'])} in all"


def _a_unit(whole: Row) -> str:
    return f"{times(whole['growth'])} a unit towards the input, R² {number(whole['r_squared'], 2)}"


def _equations(run: Run) -> list[str]:
    checks = run.record.checks
    if checks.empty:
        return ["No equation was checked in this run; gradflow check does."]
    expected = checks["expected_to_hold"].fillna(value=False)
    holds = checks["holds"].fillna(value=False)
    kept, due = int((expected & holds).sum()), int(expected.sum())
    sentences = [
        f"Of {due} checks of equations that are expected to hold, "
        + ("all do." if kept == due else f"{due - kept} FAIL: see the checks below.")
        if due
        else "No checked equation is expected to hold exactly in this network."
    ]
    findings = checks[~expected]
    if len(findings):
        reasons = ", ".join(str(reason) for reason in findings["finding"].dropna().unique()[:4])
        sentences.append(
            f"{len(findings)} more were measured where the network is not of that form ({reasons}): "
            f"{_outcome(findings)}. These are findings, not failures."
        )
    return sentences


def _outcome(findings: pd.DataFrame) -> str:
    """Return how many of the checks hold, are off, by how much in the median, and could not be compared."""
    holds = findings["holds"].fillna(value=False)
    off = findings.loc[~holds & findings["error"].notna(), "error"]
    kept, lost = int(holds.sum()), len(findings) - int(holds.sum()) - len(off)
    outcomes = {
        f"hold{'s' if kept == 1 else ''} all the same": kept,
        f"{'is' if len(off) == 1 else 'are'} off by {number(off.median())} of its terms"
        + (" in the median" if len(off) > 1 else ""): len(off),
        "could not be compared": lost,
    }
    if lost == len(findings) > 1:
        return "none of them could be compared"
    if len(findings) == 1:
        return f"it {next(words for words, count in outcomes.items() if count)}"
    return ", ".join(
        f"{count if count < len(findings) else 'all'} {words}" for words, count in outcomes.items() if count
    )


def _measured(run: Run) -> Measured:
    return Measured(run.record, run.network.units, run.stages)
