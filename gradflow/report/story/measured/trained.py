"""Short training runs: how far they got, and what they did to the gradient's way."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import PROVENANCE, Analysis
from gradflow.report.story.values import Sheet, Value, count, divide, percent, times

_WHEN = ("untrained", "trained")
_CLOSE_TO_GUESSING = 0.02
"""An error so near that of guessing, or nearer, is said to be none other."""


def measure(analysis: Analysis) -> Numbers:
    """Return a row a network: iterations, test error, and the gradient's ratio before and after."""
    curves = analysis.table("curves.csv", text=("network",), numbers=("iteration", "test_error"))
    numbers = ("unit", "grad_in_norm", "backward_shortcut_share")
    units = analysis.table("units.csv", text=("network", "shortcut"), numbers=numbers)
    rows = [_row(analysis, curves, units, str(name)) for name in curves.frame["network"].unique()]
    unfinished = [row for row in rows if row["made"] and row["made"].number < row["length"].number]
    return {
        "rows": rows,
        "recipes": sorted({row["recipe"] for row in rows if row["recipe"]}),
        "unfinished": unfinished,
        "guessing": [row for row in rows if _is_guessing(row)],
        "nearer": [row for row in rows if row["nearer"] and not _is_guessing(row)],
        "farther": [row for row in rows if row["nearer"] is False and not _is_guessing(row)],
    }


def _row(analysis: Analysis, curves: Sheet, units: Sheet, network: str) -> dict[str, Any]:
    found: dict[str, Any] = {"network": network, "error": None, "at": None, "nearer": None}
    tested = curves.frame[(curves.frame["network"] == network) & curves.frame["test_error"].notna()]
    if len(tested):
        last = tested.sort_values("iteration").iloc[-1]
        which = f"{network} at iteration {last['iteration']:.0f}"
        found["error"] = curves.cell(last, "test_error", which, percent)
        found["at"] = curves.value(f"last iteration of {network} with a test_error", last["iteration"], count)
    for when in _WHEN:
        part = units.frame[units.frame["network"] == f"{network}, {when}"].sort_values("unit")
        found[when] = _gradient(units, f"{network}, {when}", part) if len(part) else None
    if found["untrained"] and found["trained"]:
        before, after = (found[when]["decades"] for when in _WHEN)
        found["nearer"] = after < before
    return found | _recipe(analysis, network)


def _gradient(units: Sheet, which: str, part: pd.DataFrame) -> dict[str, Any]:
    norms = part["grad_in_norm"]
    ratio = units.value(
        f"first over last grad_in_norm of {which}", divide(norms.iloc[0], norms.iloc[-1]), times
    )
    identities = part[part["shortcut"] == "identity"]
    share = identities["backward_shortcut_share"].median()
    return {
        "ratio": ratio,
        "share": units.value(f"median backward_shortcut_share of identity units of {which}", share),
        "decades": abs(math.log10(ratio.number)) if ratio.number > 0 else math.inf,
    }


def _recipe(analysis: Analysis, network: str) -> dict[str, Any]:
    runs = analysis.provenance.get("runs")
    run = runs.get(network) if isinstance(runs, dict) else None
    if run is None:
        return {"made": None, "length": None, "recipe": "", "classes": None}
    try:
        recipe = run["recipe"]
        made, length, name = float(run["iteration"]), float(recipe["length"]), str(recipe["name"])
        classes = int(run["num_classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise analysis.damaged(
            PROVENANCE, f"the run {network} does not say how far it was trained"
        ) from error

    def quoted(number: float, what: str) -> Value:
        return Value.of(analysis.source.key, PROVENANCE, f"{what} of the run {network}", number, count)

    return {"made": quoted(made, "iteration"), "length": quoted(length, "recipe length"), "recipe": name} | {
        "classes": quoted(classes, "num_classes")
    }


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
            "gradient norm and "
            "the shortcut’s share of its energy, the first unit at the bottom.",
        ),
        Picture(
            "gradient_norm",
            "gradient norm by unit of each network, untrained and trained",
            "Gradient norm at each unit’s input, before training and after it, and the factor from unit to "
            "unit.",
        ),
        Picture(
            "backward",
            "norms of the gradient’s parts through shortcut and branch, by unit, untrained and trained",
            "What goes on through the shortcut, and what through the branch.",
        ),
    ),
)
"""The part on short training runs."""
