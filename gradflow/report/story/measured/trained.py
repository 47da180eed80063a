"""Short training runs: how far they got, and what they did to the gradient's way."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from gradflow.report.story.measured.recipes import tell_recipe
from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import Sheet, count, percent, times

_CLOSE_TO_GUESSING = 0.02
"""An error so near that of guessing, or nearer, is said to be none other."""

_FACTORS = {"ratio": times, "gain": times}
"""What is nearer to 1, or farther, after training."""


def measure(analysis: Analysis) -> Numbers:
    """Return a row a network: iterations, test error, and the gradient's way before and after.

    The numbers are those of the analysis's own page: `ratio` is the first unit's gradient norm over the last
    one's, `gain` the geometric mean of the factor a unit over like identity units, `share` the mean of the
    shortcut's share over them.
    """
    curves = analysis.table("curves.csv", text=("network",), numbers=("iteration", "test_error"))
    names = [f"{name}{end}" for name in ("ratio", "gain", "share") for end in ("", "_low", "_high")]
    changes = analysis.table("changes.csv", text=("network", "trained"), numbers=(*names, "seeds", "batches"))
    rows = [_row(analysis, curves, changes, str(name)) for name in curves.frame["network"].unique()]
    learned = [row for row in rows if row["after"] and not row["guessing"]]
    return {
        "rows": rows,
        "recipes": sorted({row["recipe"] for row in rows if row["recipe"]}),
        "unfinished": [row for row in rows if row["made"] and row["made"].number < row["length"].number],
        "guessing": [row for row in rows if row["guessing"]],
        **{
            f"{name}_{way}": [row for row in learned if row[f"{name}_way"] == way]
            for name in _FACTORS
            for way in ("nearer", "farther", "alike")
        },
        **{
            f"share_{way}": [row for row in learned if row["share_way"] == way]
            for way in ("more", "less", "alike")
        },
        "opposite": [row for row in learned if {row["ratio_way"], row["gain_way"]} == {"nearer", "farther"}],
    }


def _row(analysis: Analysis, curves: Sheet, changes: Sheet, network: str) -> dict[str, Any]:
    found: dict[str, Any] = {"network": network, "error": None, "at": None, "before": None, "after": None}
    tested = curves.frame[(curves.frame["network"] == network) & curves.frame["test_error"].notna()]
    if len(tested):
        last = tested.sort_values("iteration").iloc[-1]
        which = f"{network} at iteration {last['iteration']:.0f}"
        found["error"] = curves.cell(last, "test_error", which, percent)
        found["at"] = curves.value(f"last iteration of {network} with a test_error", last["iteration"], count)
    mine = changes.frame[changes.frame["network"] == network]
    by_training = {str(row["trained"]): row for _, row in mine.iterrows()}
    if {"True", "False"} <= by_training.keys():
        before, after = by_training["False"], by_training["True"]
        found |= {
            "before": _cells(changes, before, f"{network}, untrained"),
            "after": _cells(changes, after, f"{network}, trained"),
            "share_way": _more_or_less(before, after),
            **{f"{name}_way": _towards_one(before, after, name) for name in _FACTORS},
        }
    found |= tell_recipe(analysis, network)
    return found | {"guessing": _is_guessing(found)}


def _cells(changes: Sheet, row: pd.Series, which: str) -> dict[str, Any]:
    cells: dict[str, Any] = {name: changes.cell(row, name, which, show) for name, show in _FACTORS.items()}
    return cells | {"share": changes.cell(row, "share", which)}


def _apart(before: pd.Series, after: pd.Series, name: str) -> bool:
    """Return whether the intervals of a number before and after do not overlap; without any, they do."""
    return bool(
        before[f"{name}_high"] < after[f"{name}_low"] or after[f"{name}_high"] < before[f"{name}_low"]
    )


def _towards_one(before: pd.Series, after: pd.Series, name: str) -> str:
    """Return `nearer` to 1, `farther` from it, or `alike` where the intervals overlap."""
    if not _apart(before, after, name):
        return "alike"
    return "nearer" if abs(math.log(after[name])) < abs(math.log(before[name])) else "farther"


def _more_or_less(before: pd.Series, after: pd.Series) -> str:
    if not _apart(before, after, "share"):
        return "alike"
    return "more" if after["share"] > before["share"] else "less"


def _is_guessing(row: dict[str, Any]) -> bool:
    error, classes = row["error"], row["classes"]
    return bool(error and classes and error.number > 1 - 1 / classes.number - _CLOSE_TO_GUESSING)


PART = Part(
    "training_runs",
    "part_trained.html.j2",
    measure,
    (
        Picture(
            "training",
            "loss and error over iterations, and gradient norm and shortcut share by unit and iteration, a "
            "column a run",
            "A column is a run. Above, loss and error; below, over the same iterations, every unit’s "
            "gradient norm and the shortcut’s share of its energy, the first unit at the bottom.",
        ),
        Picture(
            "gradient_norm",
            "gradient norm by unit of each network, untrained and trained",
            "Gradient norm at each unit’s input, before training and after it, and the factor from unit to "
            "unit. Bands are 95 % intervals: over seeds untrained, over batches of one network trained. "
            "A network’s colour is its family’s; depth and training are told by the line.",
        ),
        Picture(
            "backward",
            "norms of the gradient’s parts through shortcut and branch, by unit, untrained and trained",
            "What goes on through the shortcut, and what through the branch. Bands as above.",
        ),
    ),
)
"""The part on short training runs."""
