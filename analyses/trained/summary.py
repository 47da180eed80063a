"""What the probes of a network say in a few numbers, and the curves of its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from gradflow.record import Record
from gradflow.statistics import with_shares
from trained.runs import Run

_CONFIDENCE = 0.95


def summarise_all(probes: Mapping[tuple[str, bool], Record]) -> list[dict[str, Any]]:
    """Return `summarise` of every network, untrained and trained."""
    return [summarise(network, trained, record) for (network, trained), record in probes.items()]


def summarise(network: str, trained: bool, record: Record) -> dict[str, Any]:
    """Return what probes of several seeds say of a network, each with its interval over the seeds.

    `ratio` is ‖∂E/∂x‖ of the first unit over that of the last; `gain` the geometric mean of
    ‖∂E/∂x_l‖ / ‖∂E/∂x_{l+1}‖ over like units (`_alike`); `share` the mean of the shortcut's
    share of the gradient's energy over these units; `span` the median over them of the median sample's
    ⟨b, s⟩ / ‖s‖² of the span to the stage's end. An untrained network has a batch a seed of its weights
    (`seeds`); a trained one is one network, whose intervals are over `batches`.
    """
    values: dict[str, list[float]] = {"ratio": [], "gain": [], "share": [], "span": []}
    for _, units in with_shares(record.units).groupby("seed"):
        ordered = units.sort_values("unit")
        inner = _alike(ordered)
        norms = ordered["grad_in_norm"].to_numpy(float)
        values["ratio"].append(norms[0] / norms[-1])
        values["gain"].append(float(np.exp(np.log(inner["backward_gain"].to_numpy(float)).mean())))
        values["share"].append(float(inner["backward_shortcut_share"].mean()))
        values["span"].append(float(inner["span_cancellation_p50"].median()))
    counts = {"seeds": 1 if trained else len(values["ratio"]), "batches": len(values["ratio"])}
    found: dict[str, Any] = {"network": network, "trained": trained, **counts}
    for name, numbers in values.items():
        low, high = _interval(numbers)
        found |= {name: float(np.mean(numbers)), f"{name}_low": low, f"{name}_high": high}
    return found


def _alike(units: pd.DataFrame) -> pd.DataFrame:
    """Return the units with an identity shortcut after which the same follows as after most of them.

    In a pre-activation network x_{l+1} of a stage's last unit is read behind the next one's shared
    activation, so that its ∂E/∂x_{l+1} is another quantity.
    """
    identities = units[units["shortcut"] == "identity"]
    usual = identities["post_activation"].mode().iloc[0]
    return identities[identities["post_activation"] == usual]


def _interval(numbers: Sequence[float]) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over seeds; NaN for fewer than two, or where all are one."""
    if len(numbers) < 2 or not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
        return np.nan, np.nan
    interval = bootstrap(
        (np.asarray(numbers),), np.mean, confidence_level=_CONFIDENCE, rng=np.random.default_rng(0)
    ).confidence_interval
    return float(interval.low), float(interval.high)


def curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Return loss, error and learning rate of all runs, training batches averaged over 20 steps."""
    tables = []
    for run in runs:
        steps = run.record.steps.sort_values("iteration")
        means = steps.groupby((steps["iteration"] - 1) // 20).agg(
            {
                "iteration": "max",
                "loss": "mean",
                "error": "mean",
                "param_grad_norm": "mean",
                "learning_rate": "last",
            }
            | {"test_loss": "last", "test_error": "last"}
        )
        tables.append(means.assign(network=run.network))
    return pd.concat(tables, ignore_index=True)
