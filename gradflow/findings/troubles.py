"""Sentences about units that do not do their part: each names the units and the numbers that say so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from gradflow.findings.dead import describe_dead
from gradflow.findings.dropped import describe_dropped
from gradflow.findings.measured import AVERAGED, Measured, Row, extreme, rows_of
from gradflow.findings.normalisation import describe_last_normalisation
from gradflow.statistics import aggregate, last_iteration, left_out, with_shares
from gradflow.wording import format_number as number
from gradflow.wording import format_percent as percent
from gradflow.wording import name_unit, name_units

NOTHING = 1e-4
"""Share of the energy below which a branch does next to nothing: a hundredth of the shortcut's norm."""

CANCELS = 0.5
"""Part of the shortcut's gradient, or signal, of which so little is left that the branch cancels it."""


def describe_troubles(measured: Measured) -> list[str]:
    """Return the sentences about what is wrong with units, or behind the last, if there is anything."""
    return [
        *describe_dropped(measured),
        *_idle(measured),
        *_cancelling_backward(measured),
        *_cancelling_forward(measured),
        *describe_dead(measured),
        *describe_last_normalisation(measured),
    ]


def _idle(measured: Measured) -> Iterator[str]:
    """Yield which branches add next to nothing, forward and backward, in the passes in which they ran."""
    last = last_iteration(measured.record.units)
    ran = last[~left_out(last) & (last["shortcut"] != "none")]
    if ran.empty:
        return
    units = aggregate(with_shares(ran), AVERAGED)
    forward = _share(units["branch_norm"], units["shortcut_norm"])
    backward = _share(units["grad_branch_norm"], units["grad_shortcut_norm"])
    idle = (forward < NOTHING) & (backward < NOTHING)
    if idle.any():
        count = "1 unit does" if idle.sum() == 1 else f"{idle.sum()} units do"
        yield (
            f"{count} next to nothing: the branch has at most {percent(forward[idle].max())} of the signal's "
            f"energy and {percent(backward[idle].max())} of the gradient's, in "
            f"{name_units(rows_of(units[idle]))}."
        )


def _cancelling_backward(measured: Measured) -> Iterator[str]:
    """Yield where the branch takes away much of what the shortcut hands back, in the median sample."""
    units = _with_shortcut(measured)
    survival = units["survival_p50"].to_numpy(float)
    cancelling = survival < CANCELS
    if cancelling.any():
        worst = extreme(units[cancelling], "survival_p50", least=True)
        yield (
            "Backward, shortcut and branch cancel: of the shortcut's gradient less than half is left in the "
            f"median sample, in {name_units(rows_of(units[cancelling]))}; least in {name_unit(worst)}, where "
            f"‖s + b‖ / ‖s‖ is {number(worst['survival_p50'])} and ρ = ⟨b, s⟩ / ‖s‖² is "
            f"{number(worst['cancellation_p50'])}."
        )


def _cancelling_forward(measured: Measured) -> Iterator[str]:
    """Yield where the branch takes away much of the signal that the shortcut brings."""
    units = _with_shortcut(measured)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = units["sum_norm"].to_numpy(float) / units["shortcut_norm"].to_numpy(float)
    cancelling = left < CANCELS
    if cancelling.any():
        place = int(np.where(cancelling, left, np.inf).argmin())
        worst: Row = units.iloc[[place]].to_dict("records")[0]
        yield (
            "Forward, shortcut and branch cancel: their sum has less than half the shortcut's norm, in "
            f"{name_units(rows_of(units[cancelling]))}; least in {name_unit(worst)}, where ‖y‖ / ‖h‖ is "
            f"{number(left[place])} at a cosine of {number(worst['forward_cosine'])}."
        )


def _with_shortcut(measured: Measured) -> pd.DataFrame:
    rows: pd.DataFrame = measured.units[measured.units["shortcut"] != "none"]
    return rows


def _share(part: pd.Series[float], rest: pd.Series[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return ‖part‖² / (‖part‖² + ‖rest‖²)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = part.to_numpy(float) / rest.to_numpy(float)
        return np.asarray(1 / (1 + 1 / ratio**2))
