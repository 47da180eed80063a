"""λ^k: what the shortcuts alone hand back through k units, and what the whole network does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from gradflow.report.story.naming import name_shortcut
from gradflow.report.story.parts import Numbers, Part, Picture
from gradflow.report.story.sources import Analysis
from gradflow.report.story.values import Sheet, Value, count, repetitions, times
from gradflow.theory import AGREES, NEAR

_WHOLE = ("whole_gain", "whole_gain_low", "whole_gain_high")


def measure(analysis: Analysis) -> Numbers:
    """Return, for each shortcut, what arrives after the longest chain, and its rate a unit."""
    gains = analysis.table(
        "numbers.csv",
        text=("shortcut",),
        numbers=("stage", "units_between", "blocked_gain", "predicted", *_WHOLE),
    )
    rates = analysis.table(
        "rates.csv", text=("law", "shortcut", "verdict", "outside"), numbers=("value", "predicted")
    )
    scales = list(_scales(gains))
    constant = rates.frame[rates.frame["law"] == "scale_rate"]
    return {
        "longest": gains.value("largest units_between", gains.frame["units_between"].max(), count),
        "scales": scales,
        "contrary": [one["shortcut"] for one in scales if one["predicted"].number < 1 and one["grew"]],
        "scaled": rates.value("rows of scale_rate", len(constant), count),
        "as_predicted": rates.value(
            "rows of scale_rate that agree, or agree within 10 %",
            constant["verdict"].isin([AGREES, NEAR]).sum(),
            count,
        ),
        "rates": list(_rates(rates)),
        "stages": list(_stages(gains)),
        "over": repetitions(gains.frame.iloc[0]),
    }


def _scales(gains: Sheet) -> Iterator[dict[str, Any]]:
    frame = gains.frame
    constant = frame["shortcut"].str.startswith("scale:") | (frame["shortcut"] == "identity")
    for name in frame.loc[constant, "shortcut"].unique():
        row = gains.where(frame["shortcut"] == name).row_of("units_between", largest=True)
        which = f"{name}, stage {row['stage']:.0f}, {row['units_between']:.0f} units between"
        yield {
            "shortcut": name_shortcut(str(name)),
            "predicted": gains.value(f"predicted of {which}", row["predicted"], times),
            "alone": gains.cell(row, "blocked_gain", which, times),
            "whole": gains.cell(row, "whole_gain", which, times),
            "grew": row["whole_gain_low"] > 1,
        }


def _rates(rates: Sheet) -> Iterator[dict[str, Any]]:
    frame = rates.frame
    whole = frame[frame["law"] == "whole_rate"].drop_duplicates("shortcut").set_index("shortcut")
    for _, row in frame[frame["law"] != "whole_rate"].iterrows():
        which = f"{row['law']}, {row['shortcut']}"
        yield {
            "shortcut": name_shortcut(row["shortcut"]),
            "predicted": rates.value(f"predicted of {which}", row["predicted"]),
            "alone": rates.cell(row, "value", which),
            "verdict": row["verdict"],
            "outside": row["outside"],
            "whole": rates.cell(whole.loc[row["shortcut"]], "value", f"whole_rate, {row['shortcut']}")
            if row["shortcut"] in whole.index
            else None,
        }


def _stages(gains: Sheet) -> Iterator[dict[str, Any]]:
    """Yield, stage by stage, in how many variants the whole gradient grew through the longest chain.

    A variant's interval decides: it grew if all of it is above 1, shrank if all is below, else neither.
    """
    for stage, part in gains.frame.groupby("stage", sort=True):
        longest = part["units_between"].max()
        ends = part[part["units_between"] == longest]
        low, high = (ends[f"whole_gain{end}"] for end in ("_low", "_high"))
        where = f"rows of stage {stage:.0f}, {longest:.0f} units between, with whole_gain"
        yield {
            "stage": f"{stage:.0f}",
            "units": gains.value(f"largest units_between of stage {stage:.0f}", longest, count),
            "of": gains.value(where, len(ends), count),
            "above": gains.value(f"{where}_low above 1", (low > 1).sum(), count),
            "shrunk": [_whole(gains, row) for _, row in ends[high < 1].iterrows()],
            "neither": [_whole(gains, row) for _, row in ends[(low <= 1) & (high >= 1)].iterrows()],
        }


def _whole(gains: Sheet, row: pd.Series) -> tuple[str, Value]:
    shortcut = str(row["shortcut"])
    which = f"{shortcut}, stage {row['stage']:.0f}, {row['units_between']:.0f} units between"
    return name_shortcut(shortcut), gains.cell(row, "whole_gain", which, times)


PART = Part(
    "shortcut_powers",
    "part_powers.html.j2",
    measure,
    (
        Picture(
            "powers",
            "gradient gain against the number of units between, for each shortcut: the shortcuts alone with "
            "the "
            "prediction, and the whole gradient",
            "The stage with the longest chain. Left, what arrives with all branches blocked, with the "
            "prediction "
            "dashed; right, the whole gradient of the same networks. Bands are 95 % intervals over seeds.",
        ),
    ),
)
"""The part on λ^k."""
