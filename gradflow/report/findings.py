"""What the numbers mean, in plain words: sentences about one run, and about runs beside each other.

Gradients are judged by ratios along depth, never by their size, which depends on the loss, the batch and
the number of elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import numpy as np

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

    def steepness(pair: tuple[Run, Row]) -> float:
        return abs(float(np.log(pair[1]["growth"])))

    steepest, flattest = max(growing, key=steepness), min(growing, key=steepness)
    extremes = f"most in {_change(*steepest)}, least in {_change(*flattest)}"
    sentences = [f"Along depth the gradient norm changes {extremes}."]
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


def _change(run: Run, whole: Row) -> str:
    return f"{run.label} ({times(whole['growth'])} a unit towards the input, {times(whole['ratio'])} in all)"


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
        kept = int(findings["holds"].fillna(value=False).sum())
        reasons = ", ".join(str(reason) for reason in findings["finding"].dropna().unique()[:4])
        error = findings["error"].median()
        size = f" by {number(error)} of their terms in the median" if np.isfinite(error) else ""
        sentences.append(
            f"{len(findings)} more were measured where the network is not of that form ({reasons}): "
            f"{kept} of them hold all the same, the rest are off{size}. "
            "These are findings, not failures."
        )
    return sentences


def _measured(run: Run) -> Measured:
    return Measured(run.record, run.network.units, run.stages)
