"""What the numbers mean, in plain words: sentences about one run, and about runs beside each other.

Gradients are judged by ratios along depth, never by their size, which depends on the loss, the batch and
the number of elements.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from gradflow.plots import format_number as number
from gradflow.plots import last_iteration
from gradflow.report.path_findings import describe_lesions, describe_paths, describe_spectrum
from gradflow.report.runs import Run
from gradflow.report.theory_findings import describe_theory
from gradflow.statistics import find_replicate

Row = dict[Hashable, Any]
"""A row of a frame, by column."""


def describe_run(run: Run) -> list[str]:
    """Return the sentences about one run."""
    sentences = [
        *_gradient_in_stages(run),
        *_gradient_over_all(run),
        *_shares(run),
        *_samples(run),
        *_equations(run),
        *describe_theory(run.theory),
        *describe_spectrum(run.network),
        *describe_paths(run.record),
        *describe_lesions(run.network),
        *_not_finite(run),
    ]
    return sentences or ["Nothing was finite, so there is nothing to say about this run."]


def compare_runs(runs: Sequence[Run]) -> list[str]:
    """Return the sentences about runs beside each other; their numbers are in `tables.comparison_table`."""
    growing = [(run, whole) for run in runs if np.isfinite((whole := _whole(run))["growth"])]
    if len(growing) < 2:
        return []

    def steepness(pair: tuple[Run, Row]) -> float:
        return abs(float(np.log(pair[1]["growth"])))

    steepest, flattest = max(growing, key=steepness), min(growing, key=steepness)
    extremes = f"most in {_change(*steepest)}, least in {_change(*flattest)}"
    sentences = [f"Along depth the gradient norm changes {extremes}."]
    shares = [(run, share) for run in runs if np.isfinite(share := _whole(run)["backward_shortcut_share"])]
    if len(shares) > 1:
        most, least = (pick(shares, key=itemgetter(1)) for pick in (max, min))
        sentences.append(
            "The shortcut's share of the gradient's energy, in the median unit, is largest in "
            f"{most[0].label}, {_percent(most[1])}, and smallest in {least[0].label}, {_percent(least[1])}."
        )
    return sentences


def _change(run: Run, whole: Row) -> str:
    return (
        f"{run.label} ({_times(whole['growth'])} a unit towards the input, {_times(whole['ratio'])} in all)"
    )


def _gradient_in_stages(run: Run) -> list[str]:
    stages = run.stages[run.stages["stage"].notna() & np.isfinite(run.stages["growth"])]
    if stages.empty:
        return []
    each = "; ".join(
        f"stage {row['stage']} (units {row['first_unit']} to {row['last_unit']}) to {_times(row['ratio'])}, "
        f"that is {_times(row['growth'])} a unit{_interval(row, run)}"
        for row in _rows(stages)
    )
    verdicts = {_direction(row) for row in _rows(stages)}
    verdict = verdicts.pop() if len(verdicts) == 1 else "changes"
    where = "Within each stage, from its last unit's output back to its first's, the gradient norm"
    return [f"{where} {verdict}: {each}."]


def _gradient_over_all(run: Run) -> list[str]:
    whole = _whole(run)
    if not np.isfinite(whole["ratio"]):
        return []
    count = whole["last_unit"] - whole["first_unit"] + 1
    change = f"{_direction(whole)} to {_times(whole['ratio'])}{_interval(whole, run, 'ratio')}"
    where = "from the loss's end to the first unit's input, transitions between stages included"
    return [f"Over all {count} units, {where}, it {change}."]


def _shares(run: Run) -> list[str]:
    units, whole, sentences = run.network.units, _whole(run), []
    if np.isfinite(whole["backward_shortcut_share"]):
        least = _extreme(units, "backward_shortcut_share", least=True)
        sentences.append(
            f"The shortcut carries {_percent(whole['backward_shortcut_share'])} of the gradient's energy, "
            f"‖s‖² / (‖s‖² + ‖b‖²), in the median unit, and least in {_unit(least)}: "
            f"{_percent(least['backward_shortcut_share'])}."
        )
    if np.isfinite(whole["forward_branch_share"]):
        known = units[np.isfinite(units["forward_branch_share"])]
        most, least = (_extreme(known, "forward_branch_share", least=least) for least in (False, True))
        sentences.append(
            f"Forward, the branch adds {_percent(whole['forward_branch_share'])} of the signal's energy in "
            f"the median unit: most in {_unit(most)}, {_percent(most['forward_branch_share'])}, and least in "
            f"{_unit(least)}, {_percent(least['forward_branch_share'])}."
        )
    return sentences


def _samples(run: Run) -> list[str]:
    # Extremes of all seeds and batches, not the averages that are drawn.
    units = last_iteration(run.record.units)
    known = units[np.isfinite(units["cancellation_min"])]
    if known.empty:
        return []
    worst = _extreme(known, "cancellation_min", least=True)
    below = len(known.loc[known["cancellation_min"] <= -1, "unit"].unique())
    medians = known["cancellation_p50"]
    slices = "slice of the batch's gradient by sample" if run.meta["samples_coupled"] else "sample"
    reached = (
        f"at least one {slices} reaches −1 in {below} of {len(known['unit'].unique())} units"
        if below
        else f"no {slices} reaches −1 in any unit"
    )
    sentence = (
        f"The paper's argument is that ρ = ⟨b, s⟩ / ‖s‖² is not −1 for every sample: {reached}; the least is "
        f"{number(worst['cancellation_min'])} in {_unit(worst)}, and a unit's median lies between "
        f"{number(medians.min())} and {number(medians.max())}"
    )
    if np.isfinite(known["survival_min"]).any():
        least = _extreme(known, "survival_min", least=True)
        sentence += (
            f". The least survival ‖s + b‖ / ‖s‖ is {number(least['survival_min'])}, in {_unit(least)}; "
            "0 would be full cancellation"
        )
    return [f"{sentence}."]


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


def _not_finite(run: Run) -> list[str]:
    units = run.record.units
    affected = units[units["nonfinite"].fillna(0) > 0]
    if affected.empty:
        return []
    first = _unit(_extreme(affected, "unit", least=True))
    elements, units_affected = int(affected["nonfinite"].sum()), len(affected["unit"].unique())
    where = f"{units_affected} of {len(units['unit'].unique())} units, first in {first}"
    return [f"{elements:,} elements were NaN or infinite, in {where}: what depends on them is null."]


def _whole(run: Run) -> Row:
    return _rows(run.stages[run.stages["stage"].isna()])[0]


def _rows(frame: pd.DataFrame) -> list[Row]:
    # Not rows as Series: those have one type, and in pandas' nullable ones NaN and null get mixed up.
    rows: list[Row] = frame.to_dict("records")
    return rows


def _extreme(frame: pd.DataFrame, column: str, *, least: bool) -> Row:
    return _rows(frame.sort_values(column, ascending=least, kind="stable").head(1))[0]


def _direction(row: Row) -> str:
    low, high = row["growth_low"], row["growth_high"]
    if np.isfinite(low) and low <= 1 <= high:
        return "changes in no direction that the repetitions agree on"
    return "grows" if row["growth"] > 1 else "shrinks"


def _interval(row: Row, run: Run, column: str = "growth") -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    over = {"seed": "seeds", "batch_index": "batches"}[str(find_replicate(run.record.units))]
    return f" (95\u00a0% interval over {row['replicates']} {over}: {_factor(low)} to {_factor(high)})"


def _unit(row: Row) -> str:
    words = [str(row[column]) for column in ("name", "shortcut") if row[column] is not pd.NA]
    return f"unit {row['unit']} ({', '.join(words)})"


def _times(value: float) -> str:
    return f"×{_factor(value)}"


def _factor(value: float) -> str:
    # Growth in a unit is close to 1: its digits after the point are what matters.
    return f"{value:.3f}" if 0.8 < value < 1.25 else number(value)


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f}\u00a0%" if 0.1 <= percent <= 99.9 else f"{number(percent)}\u00a0%"
