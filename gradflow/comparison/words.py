"""What a comparison says, in plain words."""

from __future__ import annotations

import math

import numpy as np

from gradflow.comparison.comparing import Comparison
from gradflow.comparison.resampling import Summary
from gradflow.statistics import CONFIDENCE

NAMES = {
    "grad_in_norm": "gradient norm",
    "x_norm": "signal's norm",
    "backward_shortcut_share": "shortcut's share of the gradient's energy",
    "forward_branch_share": "branch's share of the signal's energy",
    "backward_cosine": "cosine of the gradient's two parts",
}
"""What each quantity is called in a sentence."""

SIGNIFICANT = 0.05
"""p-value below which the tested number is said to differ."""


def describe(comparison: Comparison, first: str, second: str) -> list[str]:
    """Return the sentences about a comparison.

    Args:
        comparison: of two records.
        first: what A is called.
        second: what B is called.
    """
    return [
        _summary(comparison, first, second),
        *_units(comparison, first, second),
        *(f"{remark[0].upper()}{remark[1:]}." for remark in comparison.remarks),
    ]


def _summary(comparison: Comparison, first: str, second: str) -> str:
    summary, name = comparison.summary, NAMES[comparison.quantity]
    if comparison.geometric:
        said = (
            f"From the last unit to the first, the {name} changes to {_times(summary.a)} in {first} and to "
            f"{_times(summary.b)} in {second}: the second change is {_times(summary.change)} the first"
        )
    else:
        said = (
            f"Over all units, the mean of the {name} is {_plain(summary.a)} in {first} and "
            f"{_plain(summary.b)} in {second}: a difference of {_plain(summary.change)}"
        )
    if math.isnan(summary.p_value):
        return f"{said}."
    return f"{said} {_evidence(comparison, summary)}."


def _evidence(comparison: Comparison, summary: Summary) -> str:
    count = min(comparison.repetitions)
    how = f"{count} pairs" if comparison.paired else f"{count} repetitions each"
    differs = summary.p_value < SIGNIFICANT
    verdict = "which chance does not explain" if differs else "which may be chance"
    return (
        f"({CONFIDENCE:.0%} {_plain(summary.low)} to {_plain(summary.high)}, permutation test p = "
        f"{summary.p_value:.2g}, {how}), {verdict}"
    )


def _units(comparison: Comparison, first: str, second: str) -> list[str]:
    units = comparison.units
    if units["low"].isna().all():
        return []
    apart = units[units["differs"]]
    where = f"the band over all units at once is clear of no change in {len(apart)} of {len(units)} units"
    if apart.empty:
        return [f"Unit by unit, {where}."]
    changes = apart["change"].to_numpy(float)
    most = apart.iloc[int(np.argmax(np.abs(np.log(changes) if comparison.geometric else changes)))]
    change = (
        f"{_times(most['change'])} as large in {second} as in {first}"
        if comparison.geometric
        else f"{_plain(most['change'])} from {first} to {second}"
    )
    return [f"Unit by unit, {where}, most in unit {most['unit']} ({most['name']}): {change}."]


def _times(value: float) -> str:
    return f"{_plain(value)} times"


def _plain(value: float) -> str:
    return f"{value:.3g}"
