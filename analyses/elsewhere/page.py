"""The page, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from common.pages import render
from common.tables import markdown_table, with_interval

from elsewhere.measuring import TRANSFORMER_WIDTH, WIDTH
from gradflow.plots import format_number
from gradflow.theory import AGREES, DISAGREES, LAWS, NEAR, OUTSIDE, R


def write_page(
    connected: pd.DataFrame, verdicts: pd.DataFrame, data: str, seeds: int, sizes: Mapping[str, int]
) -> str:
    """Return the page.

    Args:
        connected: `measuring.measure_connected` of all seeds and inputs.
        verdicts: `fits.judge_all`.
        data: the images' name.
        seeds: how many.
        sizes: samples a batch, of `connected` nets and of `transformers`.
    """
    verdict = verdicts["verdict"]
    shares = connected.groupby(["net", "inputs"], sort=False)["co_active"].mean()
    said = [f"{format_number(share)} ({net}, {inputs})" for (net, inputs), share in shares.items()]
    return render(
        Path(__file__).with_name("page.md.jinja"),
        data=data,
        seeds=seeds,
        sizes=sizes,
        width=WIDTH,
        transformer_width=TRANSFORMER_WIDTH,
        co_active=", ".join(said),
        judged=int((verdict != OUTSIDE).sum()),
        agreeing=int(verdict.isin([AGREES, NEAR]).sum()),
        disagreeing=int((verdict == DISAGREES).sum()),
        outside=int((verdict == OUTSIDE).sum()),
        disagreeing_laws=set(verdicts.loc[verdict == DISAGREES, "law"]),
        refined=R / 2,
        table=_table(verdicts),
    )


def _table(verdicts: pd.DataFrame) -> str:
    rows = []
    before = ""
    for row in verdicts.to_dict("records"):
        law = LAWS[row["law"]]
        title = f"**{law.title}**: {law.statement} *({law.source})*" if row["law"] != before else ""
        before = row["law"]
        said = ": ".join(filter(None, (row["verdict"], row["outside"])))
        rows.append(
            [
                title,
                f"{row['net']}, {row['inputs']}",
                with_interval(row),
                format_number(row["predicted"]),
                said,
            ]
        )
    return markdown_table(["Prediction", "Net, inputs", "Measured [95 %]", "Predicted", "Verdict"], rows)
