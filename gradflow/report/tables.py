"""Tables of a report: cells as text, in columns that say their unit and meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradflow.record import TABLES, Column
from gradflow.report.runs import Run
from gradflow.report.typesetting import typeset
from gradflow.statistics import summarise_checks
from gradflow.theory import LAWS

_KEYS = ("iteration", "seed", "batch_index")
_SUMMARY = (
    (
        "stage",
        "stage",
        "index of the run of units with equal feature-map size and width; “all” is the network",
    ),
    ("units", "units", "first and last unit"),
    (
        "ratio",
        "ratio",
        "gradient norm at the first unit's output over that at the last's; for “all” at its input",
    ),
    ("growth", "a unit", "fitted factor in one unit, towards the input"),
    ("interval", "95 %", "interval of that factor over seeds, or over batches of one seed"),
    ("r_squared", "R²", "share of the logarithm's variance that the fit explains"),
    ("backward_shortcut_share", "shortcut share", "‖s‖² / (‖s‖² + ‖b‖²), median unit"),
    ("forward_branch_share", "branch share", "‖F‖² / (‖h‖² + ‖F‖²), median unit"),
    ("cancellation_min", "least ρ", "of any sample and unit"),
    ("survival_min", "least survival", "‖s + b‖ / ‖s‖ of any sample and unit"),
)
_CHECKS = (
    ("verdict", "verdict", "holds, fails, or a finding where it need not hold", True),
    ("equation", "equation", "number in He et al. 2016", True),
    ("form", "form", "which statement goes by this number", True),
    ("formula", "statement", "what is compared with what", True),
    ("dtype", "dtype", "in which the network ran", True),
    ("count", "hold", "how many of the checks of this statement hold", False),
    ("span", "worst span", "l–L where the error is largest beside its tolerance", False),
    ("error", "error", "‖residual‖ / Σ of the norms of its terms, there", False),
    ("tolerance", "tolerance", "largest error that rounding explains, there", False),
    ("detectable", "detects", "smallest relative change of a term that every check would catch", False),
    ("finding", "finding", "why it need not hold, or is not compared", True),
)


_FORMULAS = ("formula", "title", "statement")
"""Columns whose texts are this package's own, with formulas in them."""

_THEORY = (
    ("title", "what", "what is measured", True),
    ("stage", "stage", "index of the stage; “all” is the network", True),
    ("value", "measured", "mean over seeds", False),
    ("interval", "95 %", "interval over seeds; batches of one seed have none", True),
    ("predicted", "predicted", "the value that is predicted", False),
    ("statement", "prediction", "what is predicted, in words", True),
    ("source", "source", "whose prediction", True),
    (
        "verdict",
        "verdict",
        "whether the interval holds the prediction, or why it is not about the run",
        True,
    ),
)


@dataclass(frozen=True)
class Head:
    """One column's head: its column and title, and what it means (shown on hovering)."""

    column: str
    title: str
    meaning: str
    text: bool


@dataclass(frozen=True)
class Table:
    """A table to show; a row is its cells and a word for its style."""

    heads: Sequence[Head]
    frame: pd.DataFrame
    verdicts: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each row's verdict (or nothing) and its cells."""
        columns = [
            list(map(typeset, _cells(self.frame[head.column])))
            if head.column in _FORMULAS
            else _cells(self.frame[head.column])
            for head in self.heads
        ]
        verdicts = self.verdicts or [""] * len(self.frame)
        yield from zip(verdicts, zip(*columns, strict=True), strict=True)


def stage_table(run: Run) -> Table:
    """Return the stages of `run`: ratios along depth, shares, extremes."""
    stages = run.stages
    ends = [f"{first}–{last}" for first, last in zip(stages["first_unit"], stages["last_unit"], strict=True)]
    names = ["all" if pd.isna(stage) else str(stage) for stage in stages["stage"]]
    intervals = [
        f"{_cell(low)} – {_cell(high)}" if np.isfinite(low) else "–"
        for low, high in zip(stages["growth_low"], stages["growth_high"], strict=True)
    ]
    frame = stages.assign(stage=names, units=ends, interval=intervals)
    return Table(_summary_heads(frame), frame)


def comparison_table(runs: Sequence[Run]) -> Table:
    """Return one row a run: what `stage_table` says of the whole network."""
    wholes = pd.concat([stage_table(run).frame.tail(1) for run in runs], ignore_index=True)
    heads = [head for head in _summary_heads(wholes) if head.column != "stage"]
    names = Head("run", "run", "model and training", text=True)
    return Table([names, *heads], wholes.assign(run=[run.label for run in runs]))


def unit_table(run: Run) -> Table:
    """Return the units of `run`, averaged."""
    return Table(heads_of("units", run.network.units), run.network.units)


def parameter_table(run: Run) -> Table:
    """Return the parameters of `run`, averaged."""
    return Table(heads_of("parameters", run.network.parameters), run.network.parameters)


def other_tables(run: Run) -> list[tuple[str, Table]]:
    """Return the tables that only some records have, each with its name: those of `run` with a row."""
    found = [("Theory beside measurement", theory_table(run))] if len(run.theory) else []
    for name in ("jacobians", "singular_values", "paths", "lesions"):
        frame = getattr(run.network, name)
        if len(frame):
            found.append((name.replace("_", " ").capitalize(), Table(heads_of(name, frame), frame)))
    return found


def theory_table(run: Run) -> Table:
    """Return one row a prediction and stage: predicted, measured with its interval, and the verdict."""
    rows = run.theory.to_dict("records")
    frame = run.theory.assign(
        title=[LAWS[row["law"]].title for row in rows],
        statement=[LAWS[row["law"]].statement for row in rows],
        source=[LAWS[row["law"]].source for row in rows],
        stage=["all" if pd.isna(row["stage"]) else str(row["stage"]) for row in rows],
        interval=[
            f"{_cell(low)} – {_cell(high)}" if np.isfinite(low) else "–"
            for low, high in zip(run.theory["value_low"], run.theory["value_high"], strict=True)
        ],
        verdict=[": ".join(filter(None, (row["verdict"], row["outside"]))) for row in rows],
    )
    return Table([Head(*head) for head in _THEORY], frame)


def check_table(run: Run) -> Table:
    """Return one row a statement, with the worst of its checks and a verdict; what fails comes first."""
    statements = summarise_checks(run.network.checks)
    rows = list(statements.itertuples())
    frame = statements.assign(
        span=[f"{row.span_start}–{row.span_end}" for row in rows],
        count=[f"{row.held} of {row.checks}" for row in rows],
        failed=statements["verdict"] == "fails",
    ).sort_values("failed", ascending=False, kind="stable")
    heads = [Head(*head) for head in _CHECKS if set(_cells(frame[head[0]])) != {"–"}]
    return Table(heads, frame, frame["verdict"].tolist())


def _summary_heads(frame: pd.DataFrame) -> list[Head]:
    return [
        Head(column, title, meaning, text=False)
        for column, title, meaning in _SUMMARY
        if set(_cells(frame[column])) != {"–"}
    ]


def heads_of(table: str, frame: pd.DataFrame) -> list[Head]:
    """Return the columns of a record's `table` that `frame` has a value in, keys apart."""
    # What is null in every row only hides the rest; keys are constant after averaging.
    return [
        Head(column.name, column.name, _meaning(column), text=column.kind == "string")
        for column in TABLES[table]
        if column.name not in _KEYS and column.name in frame and frame[column.name].notna().any()
    ]


def _meaning(column: Column) -> str:
    return f"{column.meaning} ({column.unit})" if column.unit else column.meaning


def _cells(column: pd.Series[Any]) -> list[str]:
    if column.dtype == np.float64:
        return [_cell(value) for value in column.tolist()]
    return ["–" if pd.isna(value) else str(value) for value in column.tolist()]


def _cell(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.4g}".replace("-", "−")
