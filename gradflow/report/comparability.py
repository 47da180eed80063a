"""Whether runs may be compared number by number, and what a BN mode means for reading them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradflow.comparison import ASPECTS
from gradflow.record import Meta
from gradflow.report.runs import Run

BN_MEANING = {
    "batch": (
        "Batch normalisation used this batch's own statistics, as in training. They couple the samples: "
        "what is said of the whole batch is exact, and the per-sample columns are slices of the whole "
        "batch's gradient, not gradients of single samples."
    ),
    "running": (
        "Batch normalisation used its running statistics, as in evaluation; samples do not depend on each "
        "other. In an untrained network these are 0 and 1, which is no normalisation at all."
    ),
    "frozen": (
        "Batch normalisation used this batch's statistics, held constant: samples do not depend on each "
        "other, and statements about single samples are exact."
    ),
}
_NORMS = ("x_norm", "branch_norm", "sum_norm", "grad_sum_norm", "grad_in_norm")
_WITHOUT_BN = "Samples do not depend on each other, so statements about single samples are exact."


def explain_bn(meta: Meta) -> str:
    """Return what the record's BN mode means for its per-sample columns."""
    if meta["bn"] == "batch" and not meta["samples_coupled"]:
        return _WITHOUT_BN
    return BN_MEANING[meta["bn"]]


def find_differences(runs: Sequence[Run]) -> list[str]:
    """Return in words what keeps the runs from being compared number by number; empty if nothing does."""
    aspects = {aspect: [told(run.meta) for run in runs] for aspect, told in ASPECTS.items()}
    return [
        f"{aspect}: "
        + "; ".join(f"{value} in {_names(runs, values, value)}" for value in dict.fromkeys(values))
        for aspect, values in aspects.items()
        if len(set(values)) > 1
    ]


def find_mixed_versions(runs: Sequence[Run]) -> list[str]:
    """Return in words that the runs' records are of different versions; empty if they are of one."""
    versions = [f"version {run.meta['schema_version']}" for run in runs]
    if len(set(versions)) < 2:
        return []
    told = "; ".join(f"{one} in {_names(runs, versions, one)}" for one in dict.fromkeys(versions))
    return [f"The records are of different versions: {told}. What an older one lacks is null."]


def find_empty(runs: Sequence[Run]) -> list[str]:
    """Return in words which runs have no finite norm at all, so that figures of them show nothing."""
    return [
        f"{run.label} has no finite norm in any unit of its last iteration: nothing of it can be drawn"
        for run in runs
        if not np.isfinite(run.network.units[list(_NORMS)].to_numpy(float)).any()
    ]


def _names(runs: Sequence[Run], values: Sequence[str], value: str) -> str:
    return ", ".join(run.label for run, own in zip(runs, values, strict=True) if own == value)
