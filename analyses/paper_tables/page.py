"""The page on one of the paper's tables, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from common.pages import render
from common.tables import markdown_table, with_interval
from scipy.stats import spearmanr

from gradflow.plots import format_number
from paper_tables.cases import FAIL, Case


def write_page(
    cases: Sequence[Case],
    by_case: pd.DataFrame,
    equations: pd.DataFrame,
    data: str,
    seeds: int,
    batch_size: int,
    check_batch_size: int,
) -> str:
    """Return the page.

    Args:
        cases: of one table.
        by_case: `summary.summarise_cases`.
        equations: `summary.summarise_checks`.
        data: the images' name.
        seeds: how many.
        batch_size: images a batch.
        check_batch_size: the same where equations are checked.
    """
    rows = by_case.set_index("case").to_dict("index")
    return render(
        Path(__file__).with_name("page.md.jinja"),
        table=cases[0].table,
        data=data,
        seeds=seeds,
        batch_size=batch_size,
        check_batch_size=check_batch_size,
        sentences=list(_sentences(cases, rows, equations)),
        cases_table=markdown_table(
            [
                *("Network", "Case", "Paper's error, %", "First / last [95 %]"),
                *("Shortcut's share [95 %]", "Branch's share [95 %]"),
            ],
            [_cells(case, rows[case.name]) for case in cases],
        ),
        equations_table=_equations_table(cases, equations),
    )


def _sentences(
    cases: Sequence[Case], rows: dict[Any, dict[Any, Any]], equations: pd.DataFrame
) -> Iterator[str]:
    growing = [case for case in cases if rows[case.name]["ratio_low"] > 1]
    shrinking = [case for case in cases if rows[case.name]["ratio_high"] < 1]
    yield (
        f"From the last unit to the first the gradient grows in {len(growing)} of {len(cases)} networks and "
        f"shrinks in {len(shrinking)} (by 95 % intervals over seeds): most in "
        f"{_extreme(cases, rows, most=True)}, least in {_extreme(cases, rows, most=False)}."
    )
    for model in dict.fromkeys(case.model for case in cases):
        yield _ranks([case for case in cases if case.model == model], rows, model)
    due, exact = int(equations["exact_due"].sum()), int(equations["exact"].sum())
    worst = format_number(float(equations["worst_exact"].max()))
    yield (
        f"**Equations**: of {due:,} statements that must hold in these networks, {exact:,} do, with a "
        f"largest relative error of {worst}. Where h or f is not an identity the paper's equations 4 and 5 "
        "are off; by how much, case by case, is in the table below."
    )


def _ranks(cases: Sequence[Case], rows: dict[Any, dict[Any, Any]], model: str) -> str:
    known = [case for case in cases if case.error]
    errors = [np.inf if case.error == FAIL else float(case.error) for case in known]
    steepness = [abs(np.log(rows[case.name]["ratio"])) for case in known]
    found = spearmanr(steepness, errors)
    return (
        f"**Does the start tell the end?** Over {model}'s {len(known)} cases the rank correlation of "
        "|ln(first / last)| before training with the paper's error is "
        f"{format_number(float(found.statistic), 2)} (p = {format_number(float(found.pvalue), 2)}, fails "
        "ranked last)"
        + (
            "."
            if found.pvalue < 0.05
            else ": gradients at initialisation alone are not shown to rank these networks as training does."
        )
    )


def _extreme(cases: Sequence[Case], rows: dict[Any, dict[Any, Any]], *, most: bool) -> str:
    chosen = (max if most else min)(cases, key=lambda case: rows[case.name]["ratio"])
    return f"×{with_interval(rows[chosen.name], 'ratio')} ({chosen.model}, {chosen.title})"


def _cells(case: Case, row: dict[Any, Any]) -> list[str]:
    shares = [
        with_interval(row, name) if np.isfinite(row[name]) else "–"
        for name in ("backward_shortcut_share", "forward_branch_share")
    ]
    return [case.model, case.title, case.error or "–", with_interval(row, "ratio"), *shares]


def _equations_table(cases: Sequence[Case], equations: pd.DataFrame) -> str:
    numbers = list(dict.fromkeys(equations["equation"]))
    by_case = {(row["case"], row["equation"]): row for row in equations.astype(object).to_dict("records")}
    heads = ["Network", "Case", *(f"eq. {number}" for number in numbers)]
    return markdown_table(
        heads,
        [
            [case.model, case.title, *(_check(by_case.get((case.name, number))) for number in numbers)]
            for case in cases
        ],
    )


def _check(row: dict[Any, Any] | None) -> str:
    if row is None:
        return "–"
    words = []
    if row["exact_due"]:
        words.append(f"exact {row['exact']} of {row['exact_due']}")
    if row["off"]:
        words.append(f"off by {format_number(float(row['median_off']), 2)}")
    return ", ".join(words) or "–"
