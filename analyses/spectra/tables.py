"""Tables of the analysis: means over seeds with intervals, and predictions with verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from gradflow.record import Record
from gradflow.statistics import aggregate
from gradflow.theory import AGREES, CLOSE, DISAGREES, LEAST_SEEDS, NEAR, OUTSIDE, UNDECIDED
from spectra.measuring import Case
from spectra.predictions import largest, mean_square

Ends = Mapping[str, tuple[int, int]]
SMALL = 0.3
"""A branch's mean squared singular value up to which it counts as small, for the law of many small ones."""

LAWS = {
    "mean_square": "E σ² = Π (1 + m_l)",
    "largest": "upper edge of free multiplicative Brownian motion, c = Σ ln (1 + m_l)",
}


def span_numbers(measured: Mapping[Case, Record], ends: Ends) -> pd.DataFrame:
    """Return a row a network and span: root mean square and largest singular value, with intervals."""
    rows = [row for case, record in measured.items() for row in _spans(case, record, ends)]
    return _averaged(pd.DataFrame(rows), ["root_mean_square", "largest"], ["network", "span"])


def branch_numbers(measured: Mapping[Case, Record]) -> pd.DataFrame:
    """Return a row a network and unit: the branch's root mean square singular value, with its interval."""
    parts = []
    for case, record in measured.items():
        own = record.jacobians[record.jacobians["jacobian"] == "branch"]
        parts.append(
            own[["iteration", "seed", "batch_index"]].assign(
                network=case.key, unit=own["span_start"], root_mean_square=own["mean_square"] ** 0.5
            )
        )
    return _averaged(pd.concat(parts, ignore_index=True), ["root_mean_square"], ["network", "unit"])


def judge(measured: Mapping[Case, Record], ends: Ends) -> pd.DataFrame:
    """Return a row a law, network and stage: measured over predicted, with its interval and verdict.

    The ratio is taken in every seed, with that seed's m_l, and averaged over seeds.
    """
    rows: list[dict[str, Any]] = []
    for case, record in measured.items():
        if not case.is_identity or case.key == "rezero":
            continue
        for row in _spans(case, record, ends):
            branches = row.pop("branches")
            if row["span"] == "network":
                continue
            expected = mean_square(branches)
            edge = largest(float(np.log1p(branches).sum()))
            keys = {name: row[name] for name in ("iteration", "seed", "batch_index", "network", "span")}
            steepest = float(max(branches))
            for law, found, predicted in (
                ("mean_square", row["root_mean_square"] ** 2, expected),
                ("largest", row["largest"], edge),
            ):
                rows.append(
                    {**keys, "law": law, "measured": found, "predicted": predicted, "most": steepest}
                    | {"value": found / predicted}
                )
    frame = _averaged(
        pd.DataFrame(rows), ["value", "measured", "predicted", "most"], ["law", "network", "span"]
    )
    return frame.assign(verdict=[_verdict(row) for row in frame.to_dict("records")])


def _verdict(row: Mapping[Any, Any]) -> str:
    if row["law"] == "largest" and row["most"] > SMALL:
        return OUTSIDE
    if row["seeds"] < LEAST_SEEDS:
        return UNDECIDED
    if row["value_low"] <= 1 <= row["value_high"]:
        return AGREES
    return NEAR if abs(row["value"] - 1) <= CLOSE else DISAGREES


def _spans(case: Case, record: Record, ends: Ends) -> list[dict[str, Any]]:
    """Return a row a span and seed, with the m_l of its branches."""
    rows = []
    for seed, jacobians in record.jacobians.groupby("seed"):
        branches = jacobians[jacobians["jacobian"] == "branch"].set_index("span_start")["mean_square"]
        values = record.singular_values[record.singular_values["seed"] == seed]
        for name, (start, end) in ends.items():
            span = (jacobians["jacobian"] == "span") & _between(jacobians, start, end)
            top = values[_between(values, start, end) & (values["order"] == 1)]
            rows.append(
                {
                    "iteration": 0,
                    "seed": seed,
                    "batch_index": 0,
                    "network": case.key,
                    "span": name,
                    "root_mean_square": float(jacobians.loc[span, "mean_square"].item()) ** 0.5,
                    "largest": float(top["singular_value"].item()),
                    "branches": branches.loc[start : end - 1].to_numpy(float),
                }
            )
    return rows


def _between(frame: pd.DataFrame, start: int, end: int) -> pd.Series[Any]:
    return (frame["span_start"] == start) & (frame["span_end"] == end)


def _averaged(frame: pd.DataFrame, columns: list[str], by: list[str]) -> pd.DataFrame:
    kept = frame[["iteration", "seed", "batch_index", *by, *columns]]
    return aggregate(kept, columns, by=by).drop(columns="iteration").rename(columns={"replicates": "seeds"})
