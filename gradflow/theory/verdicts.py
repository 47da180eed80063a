"""Predictions beside measurements: intervals over seeds, and a verdict for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from gradflow.repetitions import ENOUGH
from gradflow.statistics import aggregate
from gradflow.theory.laws import Law

CLOSE = 0.1
"""The predictions say ≈ and leave out finite width: so far off, relatively, is still said to be close."""

LEAST_SEEDS = ENOUGH
"""Over which a prediction about an ensemble of networks is judged; batches of one are not more of it."""

AGREES = "agrees"
NEAR = "agrees within 10 %"
DISAGREES = "disagrees"
UNDECIDED = "undecided"
OUTSIDE = "out of its conditions"
UNPREDICTED = "no prediction"

_DECISIONS = {AGREES, NEAR, DISAGREES}
VERDICTS = (AGREES, NEAR, DISAGREES, UNDECIDED, OUTSIDE, UNPREDICTED)
COLUMNS = ("value", "value_low", "value_high", "seeds", "predicted", "outside", "verdict")


def judge(rows: pd.DataFrame, laws: Mapping[str, Law], by: Sequence[str] = ()) -> pd.DataFrame:
    """Average over seeds and say for each law and each value of `by` whether it holds.

    A prediction agrees if it lies in the interval over seeds; failing that, it agrees nearly if the value is
    within `CLOSE` of it. An inequality has to be fulfilled by the whole interval. With fewer than
    `LEAST_SEEDS` seeds nothing is decided, and a law out of its conditions gets no verdict, though it was
    measured.

    Args:
        rows: one number a law, seed and value of `by`, in the columns `law`, `seed`, `value`, `predicted`
            (null: nothing was predicted) and `outside` (which condition is not met; empty if all are).
            Of several a seed, one for each batch, the mean is taken first.
        laws: by the names in `law`, in the order that is wanted.
        by: what tells cases of one law apart.

    Returns:
        `law` and `by`, `value` with its 95 % interval over seeds (Student's) in `value_low` and
        `value_high`, `seeds`, `predicted`, `outside` and `verdict`.
    """
    keys = ["law", *by]
    if rows.empty:
        return pd.DataFrame(columns=[*keys, *COLUMNS])
    numbers_of_seeds = rows.groupby([*keys, "seed"], dropna=False, sort=False)
    of_seeds = numbers_of_seeds.agg({"value": "mean", "predicted": "mean", "outside": _first_reason})
    keyed = of_seeds.reset_index().assign(iteration=0, batch_index=0)
    cases = keyed.assign(known=np.isfinite(keyed["value"])).groupby(keys, dropna=False, sort=False)
    averaged = aggregate(keyed, ["value", "predicted"], by=keys)
    # Seeds whose value is a number; and a law that is outside in one seed is not judged in the others.
    averaged["seeds"] = cases["known"].sum().to_numpy()
    averaged["outside"] = cases["outside"].agg(_first_reason).to_numpy()
    averaged["verdict"] = [
        UNDECIDED if verdict in _DECISIONS and seeds < LEAST_SEEDS else verdict
        for verdict, seeds in (
            (_verdict(laws[law].relation, outside, *numbers), seeds)
            for law, outside, seeds, *numbers in averaged[
                ["law", "outside", "seeds", "value", "value_low", "value_high", "predicted"]
            ].itertuples(index=False, name=None)
        )
    ]
    order = {law: index for index, law in enumerate(laws)}
    result: pd.DataFrame = averaged.assign(order=averaged["law"].map(order)).sort_values(
        "order", kind="stable"
    )
    return result[[*keys, *COLUMNS]].reset_index(drop=True)


def _first_reason(reasons: pd.Series) -> str:
    return next((reason for reason in reasons if reason), "")


def _verdict(relation: str, outside: str, value: float, low: float, high: float, predicted: float) -> str:
    if outside:
        return OUTSIDE
    if np.isnan(predicted):
        return UNPREDICTED
    if np.isnan(low):  # one seed: no interval
        return UNDECIDED
    if relation == "=":
        if low <= predicted <= high:
            return AGREES
        return NEAR if predicted and abs(value / predicted - 1) <= CLOSE else DISAGREES
    if relation == "<":
        low, high, predicted = -high, -low, -predicted
    return AGREES if low > predicted else DISAGREES if high < predicted else UNDECIDED
