"""Paths and lesions: through how many branches gradients come, and what a unit is missed for."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import Sheet, divide, times


def measure(analysis: Analysis) -> Numbers:
    """Return, by network, the mean length of a path weighted by gradient, and errors with a unit left out."""
    paths = analysis.table("paths.csv", text=("network",), numbers=("length", "units", "gradient", "share"))
    lesions = analysis.table(
        "lesions.csv", text=("network", "lesion", "units"), numbers=("count", "error", "replicates")
    )
    rows = [
        _lengths(paths, str(network), part) | _errors(lesions, str(network))
        for network, part in paths.frame.groupby("network", sort=False)
    ]
    trained = [row for row in rows if row["network"].endswith(", trained")]
    return {
        "rows": rows,
        "trained": len(trained),
        "shorter": [row["network"] for row in trained if row["weighted"].number < row["all"].number],
        "longest_smaller": [row["network"] for row in trained if row["ratio"].number < 1],
    }


def _lengths(paths: Sheet, network: str, part: pd.DataFrame) -> dict[str, Any]:
    ordered = part.sort_values("length")
    gradient = ordered["gradient"]
    return {
        "network": network,
        "all": paths.value(f"half of the units of {network}", ordered["units"].iloc[0] / 2),
        "weighted": paths.value(f"sum of length × share of {network}", _weighted(ordered)),
        "ratio": paths.value(
            f"gradient of the longest path over the shortest of {network}",
            divide(gradient.iloc[-1], gradient.iloc[0]),
            times,
        ),
    }


def _weighted(paths: pd.DataFrame) -> float:
    return divide(float((paths["length"] * paths["share"]).sum()), float(paths["share"].sum()))


def _errors(lesions: Sheet, network: str) -> dict[str, Any]:
    mine = lesions.frame[(lesions.frame["network"] == network) & lesions.frame["error"].notna()]
    whole = mine[mine["lesion"] == "none"]
    single = mine[(mine["lesion"] == "remove") & (mine["count"] == 1)]
    if whole.empty or single.empty:
        return {"whole": None, "median": None, "most": None}
    worst = single.sort_values("error", kind="stable").iloc[-1]
    over = _over(whole.iloc[0], network)
    return {
        "whole": lesions.cell(whole.iloc[0], "error", f"{network} without a lesion", over=over),
        "median": lesions.value(
            f"median error of {network} with one unit left out", single["error"].median()
        ),
        "most": lesions.cell(
            worst, "error", f"{network} without unit {worst['units']}, the largest", over=over
        ),
    }


def _over(row: pd.Series, network: str) -> str:
    """Return what repetitions are: an untrained network has weights of its own in each, a trained one not."""
    trained = network.endswith(", trained")
    return f"{row['replicates']:.0f} {'batches of one network' if trained else 'seeds'}"


PART = Part(
    "paths_and_lesions",
    "part_lesions.html.j2",
    measure,
    (
        Picture(
            "paths",
            "gradient along one path by its length, and the share of all paths of that length",
            "Left, ‖∂E/∂x₀‖ along one path of so many branches; right, times the number of such paths, over "
            "the sum of "
            "all. It is a sum of norms: paths that cancel each other count in full.",
        ),
        Picture(
            "lesions",
            "test error with one or several units left out, or pairs of units exchanged",
            "Test error after a lesion. A unit is left out by leaving its branch out of its addition.",
        ),
    ),
)
"""The part on paths and lesions."""
