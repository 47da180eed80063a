"""The page on λ^k, in Markdown, every sentence made from the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from common.pages import render
from common.tables import markdown_table, with_interval

from gains.measuring import CASES, Case
from gains.summary import worst_error
from gradflow.plots import format_number
from gradflow.theory import AGREES, DISAGREES, NEAR, OUTSIDE, UNDECIDED


def write_page(
    gains: pd.DataFrame, summary: pd.DataFrame, rates: pd.DataFrame, model: str, data: str, batch_size: int
) -> str:
    """Return the page.

    Args:
        gains: everything that was measured.
        summary: `summary.summarise` of it.
        rates: `summary.judge_rates` of it.
        model: the network's name.
        data: the images' name.
        batch_size: images a batch.
    """
    first = summary[summary["stage"] == summary["stage"].min()]
    longest = int(first["units_between"].max())
    ends = first[first["units_between"] == longest].set_index("shortcut")
    constant = [{"title": case.title, **ends.loc[case.shortcut].to_dict()} for case in CASES if case.exact]
    return render(
        Path(__file__).with_name("page.md.jinja"),
        model=model,
        data=data,
        batch_size=batch_size,
        seeds=int(gains["seed"].nunique()),
        longest=longest,
        exact={case.title: worst_error(gains, case.shortcut) for case in CASES if case.exact},
        constant=constant,
        growing=sum(row["whole_gain_low"] > 1 for row in constant),
        against=[row["title"] for row in constant if row["predicted"] < 1 < row["whole_gain_low"]],
        judged=_judged(rates),
        table=_table(gains, rates, ends, longest),
    )


def _judged(rates: pd.DataFrame) -> str:
    verdicts = rates[rates["law"] != "whole_rate"].set_index("shortcut")["verdict"]
    said = []
    for verdict in (AGREES, NEAR, DISAGREES, UNDECIDED, OUTSIDE):
        names = [_title(case) for case in CASES if not case.exact and verdicts[case.shortcut] == verdict]
        if names:
            said.append(f"*{verdict}*: {', '.join(names)}")
    return "; ".join(said)


def _table(gains: pd.DataFrame, rates: pd.DataFrame, ends: pd.DataFrame, longest: int) -> str:
    rows = []
    for case in CASES:
        mine = rates[rates["shortcut"] == case.shortcut].set_index("law")
        alone, whole = (mine.loc[law].to_dict() for law in (case.law, "whole_rate"))
        error = f"λ^k to {format_number(worst_error(gains, case.shortcut))}" if case.exact else ""
        known = np.isfinite(alone["predicted"])
        rows.append(
            [
                _title(case),
                format_number(alone["predicted"]) if known else "–",
                with_interval(alone),
                error or str(alone["verdict"]),
                with_interval(whole),
                with_interval(ends.loc[case.shortcut].to_dict(), "whole_gain"),
            ]
        )
    heads = ["Shortcut", "Predicted", "Shortcuts alone [95 %]", "Verdict", "Whole [95 %]"]
    return markdown_table([*heads, f"Whole after k = {longest} [95 %]"], rows)


def _title(case: Case) -> str:
    kind = {"gate:exclusive": "exclusive gate, ", "gate:shortcut": "shortcut-only gate, "}.get(case.group, "")
    return f"{kind}{case.title}"
