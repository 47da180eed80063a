"""The page on the −1 argument, in Markdown, every sentence made from the counts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common.pages import render
from common.tables import markdown_table, with_interval

from cancelling.summary import FORMS, NEAR, TRAINED
from gradflow.plots import format_number

CAPTIONS = {
    "cancellation": "ρ of every sample by unit, left; right, in the span from the unit to the end of its run "
    "of identity units (post-activation networks have no such run).",
    "survival": "What is left of the shortcut's gradient in every sample, likewise.",
}
_HEADS = (
    *("Network, BN", "Where", "Pairs", "Near full", "Near −1", "ρ ≤ −1", "ρ < 0"),
    *("Least ρ of a batch [95 %]", "Least survival of a batch [95 %]"),
    *("Least over units of the largest ρ [95 %]", "Above −1?"),
)


def write_page(counts: pd.DataFrame, data: str, seeds: int, batch_size: int) -> str:
    """Return the page.

    Args:
        counts: what `summary.count_near` found.
        data: the images' name.
        seeds: how many; of a trained network, batches.
        batch_size: images a batch.
    """
    rows = counts.to_dict("records")
    sums = counts[["pairs", "near_full", "near_along", "reaching"]].sum()
    return render(
        Path(__file__).with_name("page.md.jinja"),
        data=data,
        seeds=seeds,
        batch_size=batch_size,
        near=f"{100 * NEAR:.0f} %",
        pairs=int(sums["pairs"]),
        full=int(sums["near_full"]),
        along=int(sums["near_along"]),
        reaching=int(sums["reaching"]),
        worst=min(rows, key=lambda row: row["least_left"]),
        lowest=min(rows, key=lambda row: row["least"]),
        spans=[row for row in rows if row["form"] == FORMS["span_"]],
        silent=[row for row in rows if row["silent"] > 0],
        verdicts=counts.loc[counts["bn"] != TRAINED, "verdict"].value_counts().to_dict(),
        trained=[row for row in rows if row["bn"] == TRAINED],
        table=markdown_table(_HEADS, map(_cells, rows)),
        captions=CAPTIONS,
    )


def _cells(row: dict[str, object]) -> list[str]:
    return [
        f"{row['model']}, {row['bn']}",
        str(row["form"]),
        *(f"{row[name]:,}" for name in ("pairs", "near_full", "near_along", "reaching")),
        f"{format_number(100 * float(str(row['negative'])))} %",
        *(with_interval(row, name) for name in ("least_cancellation", "least_survival", "all_samples")),
        str(row["verdict"]),
    ]
