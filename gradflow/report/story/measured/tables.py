"""The paper's Tables 1 and 2 before training: gradients, shares, and which equations hold exactly."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from gradflow.report.story.naming import name_case
from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import Sheet, count, percent, times

_SHARES = ("backward_shortcut_share", "forward_branch_share")


def measure_cases(analysis: Analysis) -> Numbers:
    """Return how the gradient changes from the last unit to the first, case by case."""
    sheet = analysis.table(
        "cases.csv", text=("case",), numbers=("ratio", "ratio_low", "ratio_high", *_SHARES)
    )
    frame = sheet.frame
    most, least = sheet.row_of("ratio", largest=True), sheet.row_of("ratio")
    return {
        "cases": sheet.value("rows", len(frame), count),
        "growing": sheet.value("rows with ratio_low above 1", (frame["ratio_low"] > 1).sum(), count),
        "shrinking": sheet.value("rows with ratio_high below 1", (frame["ratio_high"] < 1).sum(), count),
        "most": sheet.cell(most, "ratio", most["case"], times),
        "most_of": name_case(most["case"]),
        "least": sheet.cell(least, "ratio", least["case"], times),
        "least_of": name_case(least["case"]),
        "smaller": [
            (name_case(row["case"]), sheet.cell(row, "ratio", row["case"], times))
            for _, row in frame[frame["ratio_high"] < 1].iterrows()
        ],
        "rows": [
            {
                "case": name_case(row["case"]),
                "ratio": sheet.cell(row, "ratio", row["case"], times),
                "shortcut": sheet.cell(row, _SHARES[0], row["case"]),
                "branch": sheet.cell(row, _SHARES[1], row["case"]),
            }
            for _, row in frame.iterrows()
        ],
    }


def measure_equations(analysis: Analysis) -> Numbers:
    """Return how many statements that must hold do, and how far off the others are."""
    numbers = ("worst_exact", "off", "median_off")
    keys = ("equation", "exact", "exact_due")
    sheet = analysis.table("equations.csv", text=("case",), numbers=numbers, keys=keys)
    frame = sheet.frame
    return {
        "due": sheet.value("sum of exact_due over all rows", frame["exact_due"].sum(), count),
        "exact": sheet.value("sum of exact over all rows", frame["exact"].sum(), count),
        "all_hold": bool((frame["exact"] == frame["exact_due"]).all()),
        "worst": sheet.value("largest worst_exact", frame["worst_exact"].max()),
        "equations": sorted({int(number) for number in frame["equation"]}),
        "rows": list(_equation_rows(sheet)),
    }


def _equation_rows(sheet: Sheet) -> Iterator[dict[str, object]]:
    for case, part in sheet.frame.groupby("case", sort=False):
        cells: dict[int, dict[str, object]] = {}
        for _, row in part.iterrows():
            which = f"{case}, eq. {row['equation']:.0f}"
            cells[int(row["equation"])] = {
                "exact": sheet.value(f"exact of {which}", row["exact"], count) if row["exact_due"] else None,
                "due": sheet.value(f"exact_due of {which}", row["exact_due"], count),
                "off": sheet.value(f"median_off of {which}", row["median_off"], percent)
                if pd.notna(row["median_off"])
                else None,
            }
        yield {"case": name_case(str(case)), "cells": cells}


def _pictures(table: int) -> tuple[Picture, ...]:
    return (
        Picture(
            "gradients",
            f"gradient norm by unit relative to the last unit’s, for every case of Table {table}",
            "Gradient norm at each unit’s input, relative to the last unit’s. In brackets the test error "
            "that the "
            "paper reports after training, which was not measured here. Curves that leave the panel span "
            "more "
            "decades than it shows.",
        ),
        Picture(
            "shares",
            f"shares of shortcut and branch by unit, for every case of Table {table}",
            "Left, the shortcut’s share of the gradient’s energy, ‖s‖² / (‖s‖² + ‖b‖²); right, the branch’s "
            "share of "
            "the signal’s, ‖F‖² / (‖h‖² + ‖F‖²).",
        ),
    )


EQUATIONS = Part(
    "table2_at_initialisation",
    "part_equations.html.j2",
    measure_equations,
    title="How exactly the equations hold in the networks of Table 2",
)
"""How exactly the equations hold."""

TABLE_1 = Part("table1_at_initialisation", "part_table1.html.j2", measure_cases, _pictures(1))
"""The shortcut variants."""

TABLE_2 = Part("table2_at_initialisation", "part_table2.html.j2", measure_cases, _pictures(2))
"""The activation variants."""
