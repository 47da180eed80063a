"""The page, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from common.pages import render
from common.tables import markdown_table, with_interval

from gradflow.record import Record
from gradflow.statistics import aggregate
from gradflow.theory import LAWS
from in_training.runs import Net


def write_page(
    found: pd.DataFrame, verdicts: pd.DataFrame, records: Mapping[Net, Record], data: str, recipe: str
) -> str:
    """Return the page.

    Args:
        found: `runs.ratios`.
        verdicts: `fits.judge_all`.
        records: of the runs.
        data: the images' name.
        recipe: in words.
    """
    last = found["iteration"].max()
    slopes = verdicts[verdicts["law"] == "gain_nears_one"].set_index("at")
    return render(
        Path(__file__).with_name("page.md.jinja"),
        law=LAWS["gain_nears_one"],
        data=data,
        recipe=recipe,
        seeds=found["seed"].nunique(),
        depths=", ".join(map(str, sorted(set(found["layers"])))),
        last=last,
        end=slopes.loc[last].to_dict(),
        start=slopes.loc[0].to_dict(),
        ratios=_ratios(found),
        slopes=_slopes(verdicts),
        errors=_errors(records),
        test_images=next(iter(records.values())).meta["training"]["test_images"],
    )


def _ratios(found: pd.DataFrame) -> str:
    means = aggregate(found.assign(batch_index=0), ["identity", "transition"], by=("layers",))
    last = means[means["iteration"].isin([0, means["iteration"].max()])]
    return markdown_table(
        ["layers", "iteration", "identity units", "transition units"],
        [
            [
                str(row["layers"]),
                str(row["iteration"]),
                with_interval(row, "identity", 4),
                with_interval(row, "transition", 4),
            ]
            for row in last.sort_values(["layers", "iteration"]).to_dict("records")
        ],
    )


def _slopes(verdicts: pd.DataFrame) -> str:
    return markdown_table(
        ["law", "iteration", "layers", "measured [95 %]", "predicted", "verdict"],
        [
            [
                LAWS[row["law"]].title,
                str(row["at"]),
                "all" if pd.isna(row["layers"]) else str(row["layers"]),
                with_interval(row, digits=4),
                LAWS[row["law"]].statement,
                ": ".join(filter(None, (row["verdict"], row["outside"]))),
            ]
            for row in verdicts.to_dict("records")
        ],
    )


def _errors(records: Mapping[Net, Record]) -> list[dict[str, Any]]:
    errors = pd.DataFrame(
        {"layers": net.layers, "error": record.meta["training"]["last_error"]}
        for net, record in records.items()
    )
    means = errors.groupby("layers")["error"].agg(["mean", "min", "max"]).reset_index()
    return means.to_dict("records")
