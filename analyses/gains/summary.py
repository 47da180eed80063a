"""Means over seeds of what comes back, and the rate a unit beside its prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gains.measuring import CASES
from gradflow.statistics import aggregate
from gradflow.theory import LAWS, judge, slope

_KEYS = {"iteration": 0, "batch_index": 0}


def summarise(gains: pd.DataFrame) -> pd.DataFrame:
    """Return one row a kind of shortcut, stage and k, averaged over seeds with 95 % intervals.

    Args:
        gains: `measure_gains` of all cases and seeds, with `shortcut` and `seed`.

    Returns:
        `shortcut`, `stage`, `units_between` (k), `blocked_gain` and `whole_gain` (geometric means; with
        dropout the former is the root mean square, for masks may let nothing through), each with `_low` and
        `_high`, and `predicted`.
    """
    frame = gains.assign(**_KEYS, energy=gains["blocked_gain"] ** 2)
    by = ("shortcut", "stage", "units_between")
    columns = ["energy", "blocked_gain", "whole_gain"]
    averaged = aggregate(frame[[*by, "seed", *_KEYS, *columns]], columns, by=by)
    masked = averaged["shortcut"].isin([case.shortcut for case in CASES if case.law == "dropout_rate"])
    averaged["blocked_gain"] = averaged["blocked_gain"].mask(masked, np.sqrt(averaged["energy"]))
    for end in ("low", "high"):  # root mean squares of few survivors have no interval worth the name
        averaged[f"blocked_gain_{end}"] = averaged[f"blocked_gain_{end}"].mask(masked)
    averaged = averaged.drop(columns=["energy", "energy_low", "energy_high"])
    predicted = {case.shortcut: case.predicted for case in CASES}
    averaged["predicted"] = [
        float(predicted[shortcut](np.array([float(k)]))[0])
        for shortcut, k in zip(averaged["shortcut"], averaged["units_between"], strict=True)
    ]
    return averaged.drop(columns="iteration").rename(columns={"replicates": "seeds"})


def judge_rates(gains: pd.DataFrame) -> pd.DataFrame:
    """Return for each kind of shortcut the rate of the shortcut path and of the whole, with verdicts.

    The rate is the slope of ln(gain) against k, fitted in each seed and averaged over stages, so that the
    interval is over seeds. With dropout the prediction is about the root mean square over masks, which
    no single seed has: there the rate is fitted to the root mean square over seeds, masks that let nothing
    through included, and the interval is the jackknife's over seeds.
    """
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rate = float(np.log(case.predicted(np.array([1.0])))[0])
        of_case = gains[gains["shortcut"] == case.shortcut]
        within = of_case if case.furthest is None else of_case[of_case["units_between"] <= case.furthest]
        of_seeds = _rates_of_root_mean_square if case.law == "dropout_rate" else _rates_of_seeds
        values = of_seeds(within)
        for seed, part in of_case.groupby("seed"):
            same = {"shortcut": case.shortcut, "seed": int(str(seed))}
            alone = {"law": case.law, "value": values[seed], "predicted": rate}
            whole = {"law": "whole_rate", "value": _rate(part, "whole_gain"), "predicted": np.nan}
            outside = LAWS[case.law].outside({"gate_weights": "He's rule"})
            rows += [{**same, **alone, "outside": outside}, {**same, **whole, "outside": ""}]
    return judge(pd.DataFrame(rows), LAWS, by=("shortcut",))


def worst_error(gains: pd.DataFrame, shortcut: str) -> float:
    """Return the largest |blocked / predicted − 1| of a constant shortcut over all seeds, stages and k."""
    part = gains[gains["shortcut"] == shortcut]
    return float((part["blocked_gain"] / part["predicted_gain"] - 1).abs().max())


def _rates_of_seeds(gains: pd.DataFrame) -> dict[Any, float]:
    return {seed: _rate(part, "blocked_gain") for seed, part in gains.groupby("seed")}


def _rates_of_root_mean_square(gains: pd.DataFrame) -> dict[Any, float]:
    """Return the jackknife's pseudo-value of each seed: their mean is the estimate, their scatter its error.

    Tukey 1958: n θ − (n − 1) θ₋ᵢ, with θ the rate of the root mean square over all n seeds, θ₋ᵢ without one.
    """
    seeds = gains["seed"].unique()
    whole = _rate_of_root_mean_square(gains)
    if len(seeds) == 1:
        return {seeds[0]: whole}
    without = {seed: _rate_of_root_mean_square(gains[gains["seed"] != seed]) for seed in seeds}
    return {seed: len(seeds) * whole - (len(seeds) - 1) * rate for seed, rate in without.items()}


def _rate_of_root_mean_square(gains: pd.DataFrame) -> float:
    energy = gains.assign(energy=gains["blocked_gain"] ** 2)
    averaged = energy.groupby(["stage", "units_between"])["energy"].mean().reset_index()
    return _rate(averaged.assign(gain=np.sqrt(averaged["energy"])), "gain")


def _rate(gains: pd.DataFrame, column: str) -> float:
    slopes = [
        slope(chain["units_between"].to_numpy(float), np.log(chain[column].to_numpy(float)))
        for _, chain in gains[gains[column] > 0].groupby("stage")
        if len(chain) > 1
    ]
    return float(np.mean(slopes)) if slopes else np.nan
