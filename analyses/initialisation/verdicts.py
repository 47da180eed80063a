"""Predictions beside measurements: intervals over seeds, and a verdict for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradflow.statistics import aggregate

CLOSE = 0.1
"""The predictions say ≈ and leave out finite width: so far off, relatively, is still said to be close."""

AGREES = "agrees"
NEAR = "agrees within 10 %"
DISAGREES = "disagrees"
UNDECIDED = "undecided"
OUTSIDE = "out of its conditions"
UNPREDICTED = "no prediction"


@dataclass(frozen=True)
class Law:
    """A statement that a measurement can be held against.

    Attributes:
        title: what is measured, with its symbol.
        statement: what is predicted.
        source: whose prediction.
        relation: how the measured value should stand to the predicted one.
    """

    title: str
    statement: str
    source: str
    relation: Literal["=", ">", "<"] = "="


_PREACTIVATION = "pre-activation BN nets, infinite width"
LAWS = {
    "energy_growth": Law(
        "growth of E[y²] a unit",
        "a unit adds a = fan-in / fan-out of its last convolution: 1 (basic), ¼ (bottleneck)",
        _PREACTIVATION,
    ),
    "energy_growth_padded": Law(
        "growth of E[y²] a unit, zero padding counted",
        "a p, p = ((3H − 2) / 3H)² being the share of a 3×3 convolution's taps inside H × H pixels",
        "this analysis",
    ),
    "variance_growth": Law(
        "growth of the channel variance v a unit", "a / r, with r = π / (π − 1) = 1.467", _PREACTIVATION
    ),
    "variance_growth_padded": Law(
        "growth of v a unit, zero padding counted",
        "a p (1 − p / π), p of the last convolution",
        "this analysis",
    ),
    "exponent": Law(
        "exponent of ‖g_l‖² against 1 / v_l",
        "r^K for K convolutions a unit: 2.15 (basic), 3.16 (bottleneck)",
        _PREACTIVATION,
    ),
    "exponent_by_units": Law(
        "the same exponent, without going to the continuum",
        "fitted to Π (1 + a r^(K−1) / v_l) with the measured v_l (harmonic mean over channels)",
        "this analysis",
    ),
    "exponent_padded": Law(
        "the same exponent, unit by unit, zero padding counted",
        "as before, with a p for a and 1 / (1 − p / π) for r, by convolution",
        "this analysis",
    ),
    "polynomial": Law(
        "R² of the power law in v_l less R² of an exponential in l",
        "above 0: within a stage gradients grow polynomially, not exponentially",
        _PREACTIVATION,
        ">",
    ),
    "earlier_larger": Law(
        "decades from ‖g‖ at a stage's end to ‖g‖ at its first state",
        "above 0: earlier units have the larger gradients",
        _PREACTIVATION,
        ">",
    ),
    "branch_share": Law(
        "branch share Var(F) / Var(y) over a / (v_0 + a l)",
        "1, with v_0 from the initialisation alone",
        "De & Smith 2020 (arXiv:2002.10444)",
    ),
    "gain_nears_one": Law(
        "slope of ln |‖g_l‖ / ‖g_{l+1}‖ − 1| against ln depth",
        "below 0: the ratio tends to 1 as units are added",
        "Zaeemzadeh et al. 2020 (arXiv:1805.07477)",
        "<",
    ),
    "identity_gain": Law(
        "median ‖g_l‖ / ‖g_{l+1}‖ of identity units", "near 1, nearer with depth", "the same"
    ),
    "transition_gain": Law(
        "median ‖g_l‖ / ‖g_{l+1}‖ of transition units", "the exception: not near 1", "the same"
    ),
    "plain_growth": Law(
        "growth of ‖g‖ a unit in plain networks",
        "r^(K/2): 1.467 (basic), 1.777 (bottleneck)",
        "the same argument without a shortcut (cf. Yang et al. 2019, arXiv:1902.08129)",
    ),
    "plain_growth_padded": Law(
        "the same growth, zero padding counted",
        "the product over the K convolutions of (1 − p / π)^(−1/2)",
        "this analysis",
    ),
    "plain_exponential": Law(
        "R² of an exponential in l less R² of a power law",
        "above 0: plain networks' gradients grow exponentially",
        "theory of plain networks",
        ">",
    ),
    "not_all_cancel": Law(
        "least over units of the largest ρ of a batch",
        "above −1: in no unit does the branch cancel the shortcut for all samples",
        "He et al. 2016, after eq. 5",
        ">",
    ),
    "least_cancellation": Law("least ρ of any sample in any unit", "", ""),
}

_KEYS = ["law", "network", "depth", "kind", "bn", "stage"]


def judge(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Average over seeds and say for each law, network, BN mode and stage whether it holds.

    Args:
        rows: one number a law, stage and seed (`fits.fit_laws`).

    Returns:
        the keys, `value` with its 95 % interval over seeds (Student's), `seeds`, `predicted`,
        `outside` (which condition of the prediction is not met) and `verdict`.
    """
    frame = pd.DataFrame(rows).astype({"stage": "Int64"})
    averaged = aggregate(frame, ["value", "predicted"], by=_KEYS).rename(columns={"replicates": "seeds"})
    averaged["verdict"] = [_verdict(row) for row in averaged.to_dict("records")]
    columns = ["value", "value_low", "value_high", "seeds", "predicted", "outside", "verdict"]
    order = {law: index for index, law in enumerate(LAWS)}
    averaged["order"] = averaged["law"].map(order)
    result: pd.DataFrame = averaged.sort_values("order", kind="stable")[[*_KEYS, *columns]]
    return result.reset_index(drop=True)


def _verdict(row: dict[Any, Any]) -> str:
    value, low, high, predicted = (
        float(row[key]) for key in ("value", "value_low", "value_high", "predicted")
    )
    if row["outside"]:
        return OUTSIDE
    if np.isnan(predicted):
        return UNPREDICTED
    relation = LAWS[row["law"]].relation
    if np.isnan(low):  # one seed: no interval
        return UNDECIDED
    if relation == "=":
        if low <= predicted <= high:
            return AGREES
        return NEAR if abs(value / predicted - 1) <= CLOSE else DISAGREES
    if relation == "<":
        low, high, predicted = -high, -low, -predicted
    return AGREES if low > predicted else DISAGREES if high < predicted else UNDECIDED
