"""One number a law, stage and seed: what is held against a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradflow.theory import UNIT_KINDS, Setting, UnitKind, r_squared, slope, stage_states
from initialisation.laws import LAWS
from initialisation.measuring import Measurement

Array = NDArray[np.float64]
Row = dict[str, Any]

_LEAST_FOR_SHAPE = 5
"""States that it takes to tell a power law from an exponential."""


def states(measurement: Measurement, bn: str) -> pd.DataFrame:
    """Return the states of every stage (`theory.stage_states`), with their channels' variances."""
    before_activation = measurement.case.network == "preact"
    found = stage_states(measurement.records[bn].units, before_activation=before_activation)
    return found.merge(measurement.variances, on="unit")


def fit_laws(measurement: Measurement) -> list[Row]:
    """Return what one seed says about every law that its network falls under."""
    case = measurement.case
    kind = UNIT_KINDS[case.unit]
    rows: list[Row] = []
    for bn in measurement.records:
        table = states(measurement, bn)
        found = _whole(case.network, table, bn)
        for stage, part in table.groupby("stage"):
            if len(part) > 1:
                found += [{"stage": stage, **row} for row in _stage(case.network, kind, part, bn, int(stage))]
        same = {"network": case.network, "depth": case.depth, "kind": case.unit, "bn": bn}
        keys = {"iteration": 0, "seed": measurement.seed, "batch_index": 0}
        rows += [{**keys, **same, "stage": pd.NA, "predicted": np.nan, "outside": "", **row} for row in found]
    return rows


def _stage(network: str, kind: UnitKind, part: pd.DataFrame, bn: str, stage: int) -> Iterator[Row]:
    position, log_gradient = part["position"].to_numpy(float), part["log_gradient"].to_numpy(float)
    setting = _setting(network, kind, bn, stage)
    if network == "plain":
        growth = float(np.exp(-slope(position, log_gradient) / 2))
        for law, predicted in (
            ("plain_growth", kind.plain_growth),
            ("plain_growth_padded", kind.padded_plain_growth(stage)),
        ):
            outside = LAWS[law].outside(setting)
            yield {"law": law, "value": growth, "predicted": predicted, "outside": outside}
        return
    log_variance = np.log(part["variance"].to_numpy(float))
    predicted = {"predicted": 0.0} if network == "preact" else {}
    if bn == "batch":  # the forward pass is the same in both modes
        yield from _forward(network, kind, part, stage)
        if len(part) >= _LEAST_FOR_SHAPE:
            better = r_squared(log_variance, log_gradient) - r_squared(position, log_gradient)
            yield {"law": "polynomial", "value": better, **predicted}
        decades = float((log_gradient[0] - log_gradient[-1]) / 2 / np.log(10))
        yield {"law": "earlier_larger", "value": decades, **predicted}
    exponent = -slope(log_variance, log_gradient)
    if network == "resnet":
        yield {"law": "exponent", "value": exponent}
        return
    outside = LAWS["exponent"].outside(setting)
    yield {"law": "exponent", "value": exponent, "predicted": kind.exponent, "outside": outside}
    harmonic = part["harmonic_variance"].to_numpy(float)
    for law, padding in (("exponent_by_units", False), ("exponent_padded", True)):
        by_units = -slope(log_variance, accumulated(kind, harmonic, stage, padding=padding))
        outside = LAWS[law].outside(setting)
        yield {"law": law, "value": exponent, "predicted": by_units, "outside": outside}


def _setting(network: str, kind: UnitKind, bn: str, stage: int) -> Setting:
    padded = kind is UNIT_KINDS["basic"] and stage > 0
    known = {"architecture": network, "shortcut": "identity", "trained": False}
    return {**known, "bn": bn, "padded_channels": padded}


def _forward(network: str, kind: UnitKind, part: pd.DataFrame, stage: int) -> Iterator[Row]:
    position = part["position"].to_numpy(float)
    energy = slope(position, part["energy"].to_numpy(float))
    variance = slope(position, part["variance"].to_numpy(float))
    if network == "resnet":
        yield {"law": "energy_growth", "value": energy}
        yield {"law": "variance_growth", "value": variance}
        return
    yield {"law": "energy_growth", "value": energy, "predicted": kind.gain}
    yield {"law": "energy_growth_padded", "value": energy, "predicted": kind.padded_gain(stage)}
    yield {"law": "variance_growth", "value": variance, "predicted": kind.variance_gain}
    yield {"law": "variance_growth_padded", "value": variance, "predicted": kind.padded_variance_gain(stage)}
    share = part["share"].to_numpy(float)[1:] / kind.branch_share(position[1:] - 1, stage)
    yield {"law": "branch_share", "value": float(np.exp(np.log(share).mean())), "predicted": 1.0}


def _whole(network: str, table: pd.DataFrame, bn: str) -> list[Row]:
    found: list[Row] = []
    if network == "plain":
        if bn == "batch" and len(table) >= _LEAST_FOR_SHAPE:
            unit, log_gradient = table["unit"].to_numpy(float), table["log_gradient"].to_numpy(float)
            better = r_squared(unit, log_gradient) - r_squared(np.log(unit + 1), log_gradient)
            found.append({"law": "plain_exponential", "value": better, "predicted": 0.0})
        return found
    if bn == "frozen":
        worst = float(table["cancellation_max"].min())
        found += [
            {"law": "not_all_cancel", "value": worst, "predicted": -1.0},
            {"law": "least_cancellation", "value": float(table["cancellation_min"].min())},
        ]
    else:
        identity = table["shortcut"] == "identity"
        within = identity & (table["position"] > 1)
        found.append({"law": "identity_gain", "value": float(table.loc[within, "gain"].median())})
        if not identity.all():
            found.append({"law": "transition_gain", "value": float(table.loc[~identity, "gain"].median())})
    return found


def trend_over_depths(rows: list[Row]) -> list[Row]:
    """Return, for each seed, how the gain of identity units nears 1 from depth to depth.

    ln |gain − 1| is fitted against ln(depth), among networks of one kind of unit.
    """
    gains = pd.DataFrame([row for row in rows if row["law"] == "identity_gain"])
    found: list[Row] = []
    if gains.empty:
        return found
    gains["layers"] = gains["depth"].str.partition("-")[0].astype(float)
    for _, part in gains.groupby(["network", "kind", "seed"]):
        if len(set(part["layers"])) > 1:
            value = slope(np.log(part["layers"].to_numpy()), np.log(np.abs(part["value"].to_numpy() - 1)))
            first = part.iloc[0].to_dict()
            depths = ", ".join(part["depth"])
            found.append(
                {key: first[key] for key in rows[0] if key in first}
                | {"law": "gain_nears_one", "depth": depths, "value": value, "predicted": 0.0}
                | {"outside": LAWS["gain_nears_one"].outside({"trained": False})}
            )
    return found


def accumulated(kind: UnitKind, variance: Array, stage: int, *, padding: bool) -> Array:
    """Return ln ‖g_j‖² − ln ‖g_n‖² at each state of a stage, from the gains unit by unit."""
    gains = np.log(kind.energy_gains(variance[:-1], stage, padding=padding))
    return np.append(np.cumsum(gains[::-1])[::-1], 0.0)
