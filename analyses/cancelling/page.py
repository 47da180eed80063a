"""The page on the −1 argument, in Markdown, every sentence made from the counts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from common.tables import markdown_table, with_interval

from cancelling.summary import FORMS, NEAR
from gradflow.plots import format_number

_CAPTIONS = {
    "cancellation": "ρ of every sample by unit, left; right, in the span from the unit to the end of its run "
    "of identity units (post-activation networks have no such run).",
    "survival": "What is left of the shortcut's gradient in every sample, likewise.",
}


def write_page(
    counts: pd.DataFrame, data: str, seeds: int, batch_size: int, figures: Sequence[str]
) -> str:
    """Return the page.

    Args:
        counts: what `summary.count_near` found.
        data: the images' name.
        seeds: how many.
        batch_size: images a batch.
        figures: names of the figures' files, without their endings.
    """
    rows = counts.to_dict("records")
    pairs, full, along, reaching = (
        int(counts[name].sum()) for name in ("pairs", "near_full", "near_along", "reaching")
    )
    worst = min(rows, key=lambda row: row["least_left"])
    lowest = min(rows, key=lambda row: row["least"])
    percent = f"{100 * NEAR:.0f} %"
    verdict = "agrees" if (counts["all_samples_low"] > -1).all() else "disagrees"
    medians = [
        f"{row['model']} {format_number(row['median_left'])} (the largest {format_number(row['most_left'])})"
        for row in rows
        if row["form"] == FORMS["span_"]
    ]
    orthogonal = ""
    if medians:
        orthogonal = (
            " Where ρ comes near −1, survival does not come near 0: b is nearly orthogonal to s, and adds to the "
            f"gradient's length. In spans the median survival is {', '.join(medians)}."
        )
    lines = [
        "# Does the branch ever cancel the shortcut?",
        "",
        "He et al. 2016 argue after eq. 5 that the gradient ∂E/∂x_l = ∂E/∂x_L (1 + ∂ΣF/∂x_l) does not vanish, "
        "because the branches' part is not −1 for all samples of a batch. Here is that part, sample by sample, "
        f"in identity units of networks with images of {data}. `analyses/minus_one.py` wrote this page.",
        "",
        "s is the gradient on the shortcut, b the branch's part of ∂E/∂x_l; over a span s = ∂E/∂x_L and "
        "b = Σ b_i. ρ = ⟨b, s⟩ / ‖s‖²; survival is ‖s + b‖ / ‖s‖. At ρ = −1 only the part along s is gone; "
        f"survival 0 is full cancellation. A sample is *near full cancellation* with survival below {percent}, "
        f"and *near −1* with |ρ + 1| below {percent}.",
        "",
        "## What was found",
        "",
        f"- Of {pairs:,} pairs of a sample and a unit or span, {full:,} are near full cancellation, {along:,} "
        f"near −1, and in {reaching:,} ρ is −1 or less.",
        f"- The least survival is {format_number(worst['least_left'])} ({worst['model']}, {worst['form']}); the "
        f"least ρ is {format_number(lowest['least'])} ({lowest['model']}, {lowest['form']}).{orthogonal}",
        f"- The paper's statement, that in no unit ρ is −1 for *all* samples: {verdict}. The least over units of a "
        "batch's largest ρ, with its interval over seeds, is in the table.",
        "",
        markdown_table(
            [
                *("Network, BN", "Where", "Pairs", "Near full", "Near −1", "ρ ≤ −1", "ρ < 0"),
                *("Least ρ of a seed [95 %]", "Least survival of a seed [95 %]"),
                "Least over units of the largest ρ [95 %]",
            ],
            [
                [
                    f"{row['model']}, {row['bn']}",
                    row["form"],
                    f"{row['pairs']:,}",
                    *(f"{row[name]:,}" for name in ("near_full", "near_along", "reaching")),
                    f"{format_number(100 * row['negative'])} %",
                    *(
                        with_interval(row, name)
                        for name in ("least_cancellation", "least_survival", "all_samples")
                    ),
                ]
                for row in rows
            ],
        ),
        "",
        *(line for name in figures for line in (f"![{name}]({name}.svg)", "", f"*{_CAPTIONS[name]}*", "")),
        "## How it was measured",
        "",
        f"{seeds} seeds, each with its own batch of {batch_size} images and, untrained, its own weights; float32, "
        "mean cross-entropy. Untrained networks use this batch's BN statistics, held constant (`frozen`), trained "
        "ones their running statistics (`running`): in both, samples do not depend on each other, so that the "
        "statements are about single samples. The bands hold all samples of all seeds. Spans run from a unit to "
        "the last unit of its stage after which nothing but the next identity unit stands; the first unit of a "
        "stage whose shortcut pads or projects, and post-activation networks' spans, are left out, since eq. 5 "
        "does not hold there.",
        "",
        "`numbers.csv` has the table; `provenance.json` command, versions, seeds and data.",
        "",
    ]
    return "\n".join(lines)
