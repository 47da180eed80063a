"""Predictions of the literature, counted by verdict."""

from __future__ import annotations

from typing import Any

from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import Sheet, count
from gradflow.theory import AGREES, DISAGREES, LAWS, NEAR, OUTSIDE, UNDECIDED, UNPREDICTED

_COLUMNS = (AGREES, NEAR, DISAGREES, UNDECIDED, OUTSIDE)
_OWN = {"_padded": "zero padding counted", "_by_units": "unit by unit"}


def measure_initial(analysis: Analysis) -> Numbers:
    """Return the verdicts on predictions about ResNets at initialisation."""
    return count_verdicts(analysis.table("predictions.csv", text=("law", "verdict")))


def measure_elsewhere(analysis: Analysis) -> Numbers:
    """Return the verdicts on predictions about other networks, and each disagreement."""
    sheet = analysis.table(
        "verdicts.csv", text=("law", "net", "inputs", "verdict"), numbers=("value", "predicted")
    )
    wrong = sheet.frame[sheet.frame["verdict"] == DISAGREES]
    return {
        **count_verdicts(sheet),
        "disagreements": [
            {
                "law": name_law(row["law"]),
                "of": f"{row['net']}, {row['inputs']}",
                "value": sheet.cell(row, "value", f"{row['law']}, {row['net']}, {row['inputs']}"),
                "predicted": sheet.value(
                    f"predicted of {row['law']}, {row['net']}, {row['inputs']}", row["predicted"]
                ),
            }
            for _, row in wrong.iterrows()
        ],
    }


def count_verdicts(sheet: Sheet) -> dict[str, Any]:
    """Return a row a law with its verdicts counted, and the sums over all laws."""
    frame = sheet.frame[sheet.frame["verdict"] != UNPREDICTED]
    columns = [verdict for verdict in _COLUMNS if (frame["verdict"] == verdict).any()]
    rows = []
    for law, part in frame.groupby("law", sort=False):
        cells = [
            sheet.value(f"rows of {law} whose verdict is “{verdict}”", number, count) if number else None
            for verdict in columns
            for number in ((part["verdict"] == verdict).sum(),)
        ]
        known = LAWS.get(str(law))
        rows.append(
            {"law": name_law(str(law)), "source": known.source if known else "this project", "cells": cells}
        )
    judged = frame[~frame["verdict"].isin([OUTSIDE, UNDECIDED])]
    totals = {
        "judged": ("rows with a verdict", len(judged)),
        "agreeing": ("rows that agree, or agree within 10 %", judged["verdict"].isin([AGREES, NEAR]).sum()),
        "disagreeing": ("rows that disagree", (judged["verdict"] == DISAGREES).sum()),
        "outside": ("rows out of their conditions", (frame["verdict"] == OUTSIDE).sum()),
    }
    return {
        "rows": rows,
        "columns": columns,
        **{name: sheet.value(how, number, count) for name, (how, number) in totals.items()},
    }


def name_law(key: str) -> str:
    """Return what a law is about; an analysis's own is named after the published law that it refines."""
    if key in LAWS:
        return LAWS[key].title
    for ending, words in _OWN.items():
        base = key.removesuffix(ending)
        if base != key:
            return f"{name_law(base)}, {words}"
    return key.replace("_", " ")


INITIAL = Part(
    "initial_gradients",
    "part_initial.html.j2",
    measure_initial,
    (
        Picture(
            "pre-activation-laws",
            "growth of the signal and gradient energy against channel variance, with predictions and fitted "
            "exponents",
            "The deepest pre-activation network of each kind (thin: seeds; thick: mean). Below, the fitted "
            "exponents at "
            "all depths with their intervals.",
        ),
    ),
    title="Predictions about ResNets at initialisation",
)
"""The part on predictions about ResNets."""

ELSEWHERE = Part(
    "theory_elsewhere",
    "part_elsewhere.html.j2",
    measure_elsewhere,
    (
        Picture(
            "correlations",
            "correlation of gradients between inputs against depth, in fully connected nets",
            "Mean cosine, over pairs of inputs, of the gradients of one fixed random readout; bands are 95 "
            "% intervals "
            "over seeds.",
        ),
        Picture(
            "transformers",
            "gradient of a weight matrix against depth and by layer, in pre- and post-normalised "
            "transformers",
            "Gradient of the second weight matrix of the feed-forward sublayers, with the predictions "
            "dashed.",
        ),
    ),
)
"""The part on predictions about other networks."""
