"""Where the last unit of a stage ends, told from a record."""

from __future__ import annotations

import pandas as pd

_PASS = ["iteration", "seed", "batch_index"]
_AT_THE_ADDITION = {"out_norm": "sum_norm", "grad_out_norm": "grad_sum_norm"}


def ending_at_additions(units: pd.DataFrame) -> pd.DataFrame:
    """Return `units` with ‖x_{l+1}‖ and ‖∂E/∂x_{l+1}‖ of each unit taken where its own work ends.

    A pre-activation network activates x before both paths of a unit that changes the shape, so that what a
    record has of the unit before it as x_{l+1} is f(y_l). That activation is the next unit's (see
    `gradflow.units.runs.ending_at_additions`, which says the same of the graph): a ratio of the two norms
    would count it to the unit and set it beside units that have none. For a unit that closes a chain of
    identity f in its stage the norms are therefore those of y_l.

    Args:
        units: a record's units, of each pass in order of execution.
    """
    before = units.groupby(_PASS, dropna=False, sort=False)[["unit", "stage", "post_activation"]].shift()
    closes = (
        (units["post_activation"] != "identity")
        & (units["shortcut"] != "none")
        & (before["post_activation"] == "identity")
        & (before["stage"] == units["stage"])
        & (before["unit"] == units["unit"] - 1)
    ).fillna(value=False)
    return units.assign(
        **{end: units[end].mask(closes, units[addition]) for end, addition in _AT_THE_ADDITION.items()}
    )
