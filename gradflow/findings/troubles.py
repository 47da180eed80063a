"""Sentences about units that do not do their part: each names the units and the numbers that say so.

A missing last normalisation is not among them: a record has no operation between the last unit and the
loss, and a normalisation without parameters would look like none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from gradflow.findings.flow import Measured, Row
from gradflow.statistics import last_iteration
from gradflow.wording import format_number as number
from gradflow.wording import format_percent as percent
from gradflow.wording import name_unit

NOTHING = 1e-4
"""Share of the energy below which a branch does next to nothing: a hundredth of the shortcut's norm."""

CANCELS = 0.5
"""Part of the shortcut's gradient, or signal, of which so little is left that the branch cancels it."""

_LISTED = 6
"""Units that a sentence names at most."""


def describe_troubles(measured: Measured) -> list[str]:
    """Return the sentences about units that do nothing, cancel, or let nothing through, if there are any."""
    return [
        *_idle(measured),
        *_cancelling_backward(measured),
        *_cancelling_forward(measured),
        *_dead(measured),
    ]


def _idle(measured: Measured) -> Iterator[str]:
    """Yield which branches add next to nothing, forward and backward."""
    units = _with_shortcut(measured)
    forward = _share(units["branch_norm"], units["shortcut_norm"])
    backward = _share(units["grad_branch_norm"], units["grad_shortcut_norm"])
    idle = (forward < NOTHING) & (backward < NOTHING)
    if idle.any():
        count = "1 unit does" if idle.sum() == 1 else f"{idle.sum()} units do"
        yield (
            f"{count} next to nothing: the branch has at most {percent(forward[idle].max())} of the signal's "
            f"energy and {percent(backward[idle].max())} of the gradient's, in {_listed(units[idle])}."
        )


def _cancelling_backward(measured: Measured) -> Iterator[str]:
    """Yield where the branch takes away much of what the shortcut hands back, in the median sample."""
    units = _with_shortcut(measured)
    survival = units["survival_p50"].to_numpy(float)
    cancelling = survival < CANCELS
    if cancelling.any():
        worst = units[cancelling].sort_values("survival_p50", kind="stable").to_dict("records")[0]
        yield (
            "Backward, shortcut and branch cancel: of the shortcut's gradient less than half is left in the "
            f"median sample, in {_listed(units[cancelling])}; least in {name_unit(worst)}, where "
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
            f"{_listed(units[cancelling])}; least in {name_unit(worst)}, where ‖y‖ / ‖h‖ is "
            f"{number(left[place])} at a cosine of {number(worst['forward_cosine'])}."
        )


def _dead(measured: Measured) -> Iterator[str]:
    """Yield branches through which nothing comes back although something arrives, and what stands behind it.

    Exactly 0 is what a record can tell: a layer of zeros, if one of the branch's parameters is, and else
    an activation that is off for the whole batch, as a dead ReLU's is.
    """
    units = measured.units
    silent = units[(units["grad_branch_norm"] == 0) & (units["grad_sum_norm"] > 0)]
    parameters = last_iteration(measured.record.parameters)
    zeros: list[tuple[Row, str]] = []
    dead: list[tuple[Row, str]] = []
    for row in silent.to_dict("records"):
        own = parameters[(parameters["unit"] == row["unit"]).fillna(value=False)]
        zero = own[(own["norm"] == 0) & (own["grad_norm"] > 0)]
        (dead if zero.empty else zeros).append((row, zero["name"].iloc[0] if len(zero) else ""))
    if zeros:
        where = _named([row for row, _ in zeros])
        yield (
            f"Nothing comes back through the branch of {where}: a parameter in it is 0 ({zeros[0][1]}), and "
            "it gets a gradient, so this ends when it is trained."
        )
    if dead:
        where = _named([row for row, _ in dead])
        stuck = parameters[parameters["unit"].isin([row["unit"] for row, _ in dead])]
        none = f"{int((stuck['grad_norm'] == 0).sum())} of {len(stuck)} parameter tensors"
        yield (
            f"Nothing comes back through the branch of {where}, although a gradient arrives there and no "
            f"parameter that learns is 0: {none} get a gradient of exactly 0. An activation is off there for "
            "the whole batch, as a dead ReLU is."
        )


def _with_shortcut(measured: Measured) -> pd.DataFrame:
    rows: pd.DataFrame = measured.units[measured.units["shortcut"] != "none"]
    return rows


def _share(part: pd.Series[float], rest: pd.Series[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return ‖part‖² / (‖part‖² + ‖rest‖²)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = part.to_numpy(float) / rest.to_numpy(float)
        return np.asarray(1 / (1 + 1 / ratio**2))


def _listed(units: pd.DataFrame) -> str:
    return _named(units.to_dict("records"))


def _named(rows: list[Row]) -> str:
    names = [name_unit(row) for row in rows]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
