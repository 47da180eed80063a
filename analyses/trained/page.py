"""The page of findings: `page.md.jinja`, filled from the records; no number is written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common.pages import render

from gradflow.record import Record
from trained.runs import Run


def write_page(
    runs: Sequence[Run],
    probes: Mapping[tuple[str, bool], Record],
    summaries: Sequence[Mapping[str, Any]],
    data: str,
) -> str:
    """Return the page, in Markdown.

    Args:
        runs: the training runs.
        probes: by network, and whether it was trained.
        summaries: `summary.summarise_all` of them.
        data: the images' name.
    """
    return render(
        Path(__file__).with_name("page.md.jinja"),
        runs=[_run(run) for run in runs],
        probes=summaries,
        sentences=[sentence(run.network, summaries) for run in runs],
        data=data,
        seeds=len(next(iter(probes.values())).meta["seeds"]),
        batch=next(iter(probes.values())).meta["batch_size"],
    )


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
