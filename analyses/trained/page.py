"""The page of findings: `page.md.jinja`, filled from the records; no number is written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common.pages import render
from scipy.stats import bootstrap

from gradflow.record import Record
from gradflow.statistics import with_shares
from trained.runs import Run

_CONFIDENCE = 0.95


def write_page(runs: Sequence[Run], probes: Mapping[tuple[str, bool], Record], data: str) -> str:
    """Return the page, in Markdown.

    Args:
        runs: the training runs.
        probes: by network, and whether it was trained.
        data: the images' name.
    """
    summaries = [summarise(network, trained, record) for (network, trained), record in probes.items()]
    return render(
        Path(__file__).with_name("page.md.jinja"),
        runs=[_run(run) for run in runs],
        probes=summaries,
        sentences=[sentence(run.network, summaries) for run in runs],
        data=data,
        seeds=len(next(iter(probes.values())).meta["seeds"]),
        batch=next(iter(probes.values())).meta["batch_size"],
    )


def summarise(network: str, trained: bool, record: Record) -> dict[str, Any]:
    """Return what probes of several seeds say of a network, each with its interval over the seeds.

    `ratio` is ‖∂E/∂x‖ of the first unit over that of the last; `gain` the geometric mean of
    ‖∂E/∂x_l‖ / ‖∂E/∂x_{l+1}‖ over like units (`_alike`); `share` the mean of the shortcut's
    share of the gradient's energy over these units; `span` the median over them of the median sample's
    ⟨b, s⟩ / ‖s‖² of the span to the stage's end.
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
    found: dict[str, Any] = {"network": network, "trained": trained}
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


def sentence(network: str, summaries: Sequence[Mapping[str, Any]]) -> str:
    """Say in words what training has done to the gradient's way through one network."""
    before, after = (
        next(one for one in summaries if one["network"] == network and one["trained"] is trained)
        for trained in (False, True)
    )
    apart = before["gain_high"] < after["gain_low"] or after["gain_high"] < before["gain_low"]
    if not apart:
        return (
            f"In {network}, training has not measurably changed how fast the gradient grows from unit to "
            "unit: the intervals overlap."
        )
    away = abs(np.log(after["gain"])) > abs(np.log(before["gain"]))
    return (
        f"In {network}, the gradient is multiplied in each unit by {before['gain']:.3f} before training and "
        f"by {after['gain']:.3f} after it, {'farther from' if away else 'nearer to'} the 1 of an identity; "
        "the intervals do not overlap."
    )


def _run(run: Run) -> dict[str, Any]:
    training, record = run.training, run.record
    tested = record.steps[["iteration", "test_error"]].dropna()
    checks = record.checks
    expected = checks[checks["expected_to_hold"].astype(bool)]
    worst = (expected["error"] / expected["tolerance"]).max()
    recipe = training["recipe"]
    return {
        "network": run.network,
        "file": f"{run.network}.pt",
        "recipe": recipe["name"],
        "made": training["iteration"],
        "length": recipe["length"],
        "batch": recipe["batch_size"],
        "error": 100 * float(tested["test_error"].iloc[-1]) if len(tested) else np.nan,
        "tested_at": int(tested["iteration"].iloc[-1]) if len(tested) else 0,
        "probes": record.units["iteration"].nunique(),
        "checks": len(expected),
        "held": int(expected["holds"].sum()),
        "worst": float(worst),
        "command": record.meta["command"],
    }


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
