"""One number a law and seed, and the verdicts over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gradflow.theory import LAWS, judge, slope, unnormalised
from gradflow.theory.transformers import POST_NORM_SLOPE, PRE_NORM_SLOPE, post_norm_decay

Row = dict[str, Any]

DECAY_LAYERS = 16
"""Of the transformer in which the fall from layer to layer is fitted."""


def judge_all(connected: pd.DataFrame, transformers: pd.DataFrame) -> pd.DataFrame:
    """Return a row a law and inputs, with its verdict (`theory.judge`).

    Args:
        connected: `measuring.measure_connected` of all seeds and `inputs`.
        transformers: `measuring.measure_transformers` of all seeds.
    """
    rows = [
        {"inputs": inputs, "seed": seed, **row}
        for measure, frame in ((_connected, connected), (_transformers, transformers))
        for (inputs, seed), part in frame.groupby(["inputs", "seed"], sort=False)
        for row in measure(part)
    ]
    return judge(pd.DataFrame(rows), LAWS, by=("net", "inputs"))


def _connected(part: pd.DataFrame) -> Iterator[Row]:
    nets = {str(name): net for name, net in part.groupby("net", sort=False)}
    for name in ("plain", "plain with BN"):
        yield _law("correlation_plain", nets[name], _log_slope(nets[name]), -1.0)
    yield _law("correlation_residual", nets["residual"], _log_slope(nets["residual"]), np.log2(0.75))
    normalised = nets["residual with BN"]
    depth, correlation = _correlations(normalised)
    yield _law("correlation_slope", normalised, slope(np.log(depth), np.log(correlation)), -0.5)
    yield _law("correlation_size", normalised, correlation[-1] * np.sqrt(depth[-1]), 1.0)
    states = _states(nets["residual"])
    layer = states["layer"].to_numpy(float)
    growth = slope(layer, np.log2(states["energy"].to_numpy(float)))
    yield _law("signal_doubles", nets["residual"], growth, 1.0)
    gradient = slope(-layer, np.log2(states["gradient"].to_numpy(float)))
    yield _law("gradient_exponential", nets["residual"], gradient, 1.0)
    parameter = states["parameter"].to_numpy(float)[:-1]
    yield _law("parameter_gradient_flat", nets["residual"], slope(-layer[:-1], np.log2(parameter)), 0.0)
    scaled = nets["residual, branches scaled by 0.9^l"]
    energy = _states(scaled)["energy"].to_numpy(float)
    expected = unnormalised.scaled_signal(0.9 ** np.arange(1, len(energy)))
    yield _law("bounded_length", scaled, energy[-1] / energy[0] / expected, 1.0)


def _transformers(part: pd.DataFrame) -> Iterator[Row]:
    for norm, law, predicted in (
        ("post", "post_norm_slope", POST_NORM_SLOPE),
        ("pre", "pre_norm_slope", PRE_NORM_SLOPE),
    ):
        last = part[(part["norm"] == norm) & (part["layer"] == part["layers"])]
        depth, gradient = (last[name].to_numpy(float) for name in ("layers", "gradient"))
        value = slope(np.log(depth), np.log(gradient))
        yield _row(law, f"{norm}-LN transformer", value, predicted, LAWS[law].outside({"trained": False}))
    deep = part[(part["norm"] == "post") & (part["layers"] == DECAY_LAYERS)]
    value = slope(-deep["layer"].to_numpy(float), np.log(deep["gradient"].to_numpy(float)))
    predicted = float(np.log(post_norm_decay(np.array([1.0])))[0])
    outside = LAWS["post_norm_decay"].outside({"trained": False})
    yield _row("post_norm_decay", "post-LN transformer", value, predicted, outside)


def _law(law: str, net: pd.DataFrame, value: float, predicted: float) -> Row:
    name = str(net["net"].iloc[0])
    setting = {"trained": False, "normalised": "BN" in name, "co_active": bool(net["uncorrelated"].iloc[0])}
    return _row(law, name, value, predicted, LAWS[law].outside(setting))


def _row(law: str, net: str, value: float, predicted: float, outside: str) -> Row:
    return {"law": law, "net": net, "value": float(value), "predicted": predicted, "outside": outside}


def _log_slope(net: pd.DataFrame) -> float:
    depth, correlation = _correlations(net)
    return slope(depth, np.log2(correlation))


def _correlations(net: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    known = net[net["correlation"] > 0]  # at great depth noise may take it below 0
    return known["depth"].to_numpy(float), known["correlation"].to_numpy(float)


def _states(net: pd.DataFrame) -> pd.DataFrame:
    return net[net["layer"].notna()]
