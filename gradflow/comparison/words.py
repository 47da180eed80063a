"""What a comparison says, in plain words."""

from __future__ import annotations

import math

import numpy as np

from gradflow.comparison.comparing import Comparison
from gradflow.statistics import CONFIDENCE
from gradflow.wording import format_factor
from gradflow.wording import format_number as number
from gradflow.wording import format_times as times

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
        f"{_summary(comparison, first, second)}.",
        *_units(comparison, first, second),
        *(f"{remark[0].upper()}{remark[1:]}." for remark in comparison.remarks),
    ]


def describe_repetitions(comparison: Comparison, first: str = "A", second: str = "B") -> str:
    """Return what the intervals of a comparison are over.

    Args:
        comparison: of two records.
        first: what A is called.
        second: what B is called.
    """
    one, other = map(str, comparison.over)
    if one != other:
        said = f"{one} in {first} and {other} in {second}"
    else:
        said = one if comparison.paired else f"{one} each"
    return f"{said}, pair by pair" if comparison.paired else said


def _summary(comparison: Comparison, first: str, second: str) -> str:
    summary, name = comparison.summary, NAMES[comparison.quantity]
    if not (math.isfinite(summary.a) and math.isfinite(summary.b)):
        return f"How the {name} changes along depth cannot be said: it is 0 or not finite at its ends"
    if comparison.geometric:
        said = (
            f"From the last unit's output to the first's input, the {name} changes to {times(summary.a)} in "
            f"{first} and to {times(summary.b)} in {second}: the second change is {times(summary.change)} "
            "the first"
        )
    else:
        said = (
            f"Over all units, the mean of the {name} is {number(summary.a)} in {first} and "
            f"{number(summary.b)} in {second}: a difference of {number(summary.change)}"
        )
    return said if math.isnan(summary.low) else f"{said} {_evidence(comparison, first, second)}"


def _evidence(comparison: Comparison, first: str, second: str) -> str:
    summary, told = comparison.summary, format_factor if comparison.geometric else number
    interval = (
        f"{100 * CONFIDENCE:.0f}\u00a0% interval {told(summary.low)} to {told(summary.high)}, bootstrap over "
        f"{describe_repetitions(comparison, first, second)}"
    )
    if not comparison.decides:
        return f"({interval})"
    differs = summary.p_value < SIGNIFICANT
    verdict = "which chance does not explain" if differs else "which may be chance"
    return f"({interval}; permutation test p = {number(summary.p_value, 2)}), {verdict}"


def _units(comparison: Comparison, first: str, second: str) -> list[str]:
    units = comparison.units
    if units["low"].isna().all():
        return []
    apart = units[units["differs"]]
    count = f"{len(apart)} of {len(units)} units"
    over = "" if comparison.decides else ", over the same repetitions,"
    where = f"the band over all units at once{over} is clear of no change in {count}"
    if apart.empty:
        return [f"Unit by unit, {where}."]
    changes = apart["change"].to_numpy(float)
    most = apart.iloc[int(np.argmax(np.abs(np.log(changes) if comparison.geometric else changes)))]
    change = (
        f"{times(most['change'])} as large in {second} as in {first}"
        if comparison.geometric
        else f"{number(most['change'])} from {first} to {second}"
    )
    return [f"Unit by unit, {where}, most in unit {most['unit']} ({most['name']}): {change}."]
