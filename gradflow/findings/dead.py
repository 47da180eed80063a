"""Sentences about branches through which nothing comes back, and what the gradient meets there.

Exactly 0 is what a record can tell. A factor of 0, such as ReZero's, or the scale of a last normalisation
that starts so, stops the gradient and gets one itself; a bias of 0 stops nothing. Where no factor is 0, an
activation is off.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from gradflow.findings.measured import Measured, Row, rows_of
from gradflow.findings.passes import of_pass, passes_of
from gradflow.findings.zeros import zero_factors
from gradflow.statistics import last_iteration, left_out
from gradflow.wording import name_units

_NOTHING = "Nothing comes back through the branch of"

_LISTED = 3
"""Parameters that a sentence names at most."""


def describe_dead(measured: Measured) -> Iterator[str]:
    """Yield which branches hand nothing back although something arrives at them, by why that is."""
    units = last_iteration(measured.record.units)
    silent = units[(units["grad_branch_norm"] == 0) & (units["grad_sum_norm"] > 0) & ~left_out(units)]
    if silent.empty:
        return
    one = passes_of(silent)[0]
    count, total = len(passes_of(silent)), len(passes_of(units))
    passes = f" (in {count} of {total} passes, here the first of them)" if total > 1 else ""
    parameters = of_pass(last_iteration(measured.record.parameters), one)
    learning: list[tuple[Row, str]] = []
    stuck: list[tuple[Row, str]] = []
    dead: list[tuple[Row, pd.DataFrame]] = []
    for row in rows_of(of_pass(silent, one)):
        own = parameters[(parameters["unit"] == row["unit"]).fillna(value=False)]
        own = own[(own["enters"] != "shortcut").fillna(value=True)]
        zero = zero_factors(own)
        moving = zero[zero["grad_norm"] > 0]
        if len(moving):
            learning.append((row, str(moving["name"].iloc[0])))
        elif len(zero):
            stuck.append((row, str(zero["name"].iloc[0])))
        else:
            dead.append((row, own))
    if learning:
        yield (
            f"{_NOTHING} {_where(learning)}{passes}: a factor in it is 0 ({learning[0][1]}), and nothing "
            "goes back through that; it gets a gradient itself, so this ends when it is trained."
        )
    if stuck:
        yield (
            f"{_NOTHING} {_where(stuck)}{passes}: a factor in it is 0 ({stuck[0][1]}), and it gets no "
            "gradient either: it is frozen, or what it multiplies is 0 as well, behind a dead ReLU or "
            "another factor of 0. Training does not end this."
        )
    if dead:
        owned = pd.concat([own for _, own in dead])
        yield (
            f"{_NOTHING} {_where(dead)}{passes}, although a gradient arrives there and no factor in it is 0"
            f"{_reached(owned)}. An activation is off there for the whole batch, as a dead ReLU is."
        )


def _where(rows: list[tuple[Row, str]] | list[tuple[Row, pd.DataFrame]]) -> str:
    return name_units([row for row, _ in rows])


def _reached(own: pd.DataFrame) -> str:
    """Say how far into the branches the gradient comes.

    Args:
        own: their parameters.
    """
    silent, known = int((own["grad_norm"] == 0).sum()), int(own["grad_norm"].notna().sum())
    if not known:
        return ", and none of its parameters is trained"
    reached = own[own["grad_norm"] > 0]["name"].tolist()
    more = f" and {len(reached) - _LISTED} more" if len(reached) > _LISTED else ""
    behind = (
        f"; it gets as far as {', '.join(reached[:_LISTED])}{more}, behind what stops it"
        if reached
        else ", for it stops behind all of them"
    )
    return f": {silent} of {known} parameter tensors get a gradient of exactly 0{behind}"
