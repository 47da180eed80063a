"""How near anything comes to full cancellation: counts over samples, and quantiles to draw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from common.colours import colour_of

from gradflow.plots import Network
from gradflow.record.schema import QUANTILES
from gradflow.theory import LAWS, judge

NEAR = 0.1
"""A sample is near full cancellation in a unit or span if less than this part of ‖s‖ is left, and near
cancellation along s if |ρ + 1| is less than this."""

_OTHER_TABLES = ("parameters", "checks", "jacobians", "singular_values", "paths", "lesions")

FORMS = {"": "unit", "span_": "span to the run's end"}
STATISTICS = ("cancellation", "survival")

TRAINED = "running"
"""BN's mode in which trained networks are measured, and no untrained one: of these there are batches, not
seeds."""


def count_near(samples: pd.DataFrame) -> pd.DataFrame:
    """Return one row a network and form (unit or span), with how many samples come how near.

    Returns:
        `model`, `bn`, `form`, `silent` (pairs of a sample and a unit at which no gradient arrives: ‖s‖ = 0,
        and ρ has no value), `pairs` (all others), `near_full` (survival below `NEAR`),
        `near_along` (|ρ + 1| below it), `reaching` (ρ ≤ −1), `negative` (share with ρ < 0), `seeds` (how
        many networks), `batches` (how many of all of them), and means over batches, with 95 % intervals, of
        `least_cancellation`, `least_survival` (of any sample and unit) and `all_samples`, the least over
        units of the largest ρ of a batch, with its `verdict` over networks: above −1, no unit cancels for
        all samples; `all_samples_least` is the least of any batch. Untrained networks have a batch each, so
        that their intervals are over seeds; batches of one trained network are one seed of the verdict.
    """
    rows = []
    for (model, bn), part in samples.groupby(["model", "bn"], sort=False):
        for prefix, form in FORMS.items():
            known = part[part[f"{prefix}cancellation"].notna()] if f"{prefix}cancellation" in part else None
            if known is not None and len(known):
                silent = (
                    len(part) - len(known) if prefix == "" else 0
                )  # a span is also null where there is none
                counts = {"silent": silent, **_counts(known, prefix, one_network=bn == TRAINED)}
                rows.append({"model": model, "bn": bn, "form": form, **counts})
    return pd.DataFrame(rows)


def _counts(known: pd.DataFrame, prefix: str, *, one_network: bool) -> dict[str, Any]:
    rho, survival = known[f"{prefix}cancellation"], known[f"{prefix}survival"]
    by_seed = known.assign(rho=rho, left=survival).groupby("seed")
    extremes = {
        "least_cancellation": by_seed["rho"].min(),
        "least_survival": by_seed["left"].min(),
        "all_samples": by_seed.apply(lambda part: part.groupby("unit")["rho"].max().min()),
    }
    averaged = {name: _judged(values) for name, values in extremes.items()}
    judged = _judged(extremes["all_samples"], one_network=one_network)
    batches = known["seed"].nunique()
    return {
        "pairs": len(known),
        "near_full": int((survival < NEAR).sum()),
        "near_along": int(((rho + 1).abs() < NEAR).sum()),
        "reaching": int((rho <= -1).sum()),
        "negative": float((rho < 0).mean()),
        "least": float(rho.min()),
        "left_at_least": float(survival[rho.idxmin()]),
        "least_left": float(survival.min()),
        "most": float(rho.max()),
        "median_left": float(survival.median()),
        "most_left": float(survival.max()),
        "seeds": 1 if one_network else batches,
        "batches": batches,
        **{
            f"{name}{end}": found[f"value{end}"]
            for name, found in averaged.items()
            for end in ("", "_low", "_high")
        },
        "all_samples_least": float(extremes["all_samples"].min()),
        "verdict": judged["verdict"],
    }


def _judged(values: pd.Series[float], *, one_network: bool = False) -> dict[str, Any]:
    rows = values.rename("value").rename_axis("seed").reset_index()
    rows = rows.assign(law="not_all_cancel", predicted=-1.0, outside="")
    if one_network:
        rows["seed"] = 0
    return {str(name): value for name, value in judge(rows, LAWS).iloc[0].items()}


def networks(samples: pd.DataFrame) -> Iterator[Network]:
    """Yield each network with quantiles over all samples of all seeds, as the report's figures draw them."""
    for (model, bn), part in samples.groupby(["model", "bn"], sort=False):
        by_unit = part.groupby("unit")
        columns = {
            f"{prefix}{statistic}_{name}": by_unit[f"{prefix}{statistic}"].quantile(quantile)
            if f"{prefix}{statistic}" in part
            else np.nan
            for prefix in FORMS
            for statistic in STATISTICS
            for name, quantile in QUANTILES.items()
        }
        units = pd.DataFrame(columns, index=sorted(part["unit"].unique())).rename_axis("unit")
        stages = by_unit["stage"].first()
        empty = pd.DataFrame()
        yield Network(
            label=f"{model}, {'untrained' if bn == 'frozen' else 'trained'}",
            colour=colour_of(str(model)),
            dashes="-",
            units=units.assign(stage=stages).reset_index(),
            **dict.fromkeys(_OTHER_TABLES, empty),
        )
