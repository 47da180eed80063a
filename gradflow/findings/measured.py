"""A record, and what all sentences about it need of it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gradflow.record import Record
from gradflow.statistics import aggregate, last_iteration, summarise_stages, with_shares

Row = dict[Hashable, Any]
"""A row of a frame, by column."""

AVERAGED = (
    *("x_norm", "shortcut_norm", "branch_norm", "sum_norm", "out_norm"),
    *("grad_sum_norm", "grad_out_norm", "grad_shortcut_norm", "grad_branch_norm", "grad_in_norm"),
    *("forward_cosine", "backward_cosine", "param_grad_norm", "cancellation_p50", "survival_p50"),
    *("backward_gain", "backward_shortcut_share", "forward_branch_share"),
)
"""Columns of units, with their shares, that sentences average."""


@dataclass(frozen=True)
class Measured:
    """A record, and what is computed from it once.

    Attributes:
        record: what was measured.
        units: one row a unit of its last iteration, with shares, averaged over seeds and batches.
        stages: one row a stage, and one (stage null) for the network, `statistics.summarise_stages`.
    """

    record: Record
    units: pd.DataFrame
    stages: pd.DataFrame

    @classmethod
    def of(cls, record: Record) -> Measured:
        """Average `record`; of several training iterations the last is taken."""
        last = last_iteration(record.units)
        return cls(record, aggregate(with_shares(last), AVERAGED), summarise_stages(last))

    @property
    def whole(self) -> Row:
        """The network's row of `stages`."""
        return rows_of(self.stages[self.stages["stage"].isna()])[0]


def rows_of(frame: pd.DataFrame) -> list[Row]:
    """Return the rows of `frame`, each by column."""
    # Not rows as Series: those have one type, and in pandas' nullable ones NaN and null get mixed up.
    rows: list[Row] = frame.to_dict("records")
    return rows


def extreme(frame: pd.DataFrame, column: str, *, least: bool) -> Row:
    """Return the row of `frame` with the least of `column`, or with the most."""
    return rows_of(frame.sort_values(column, ascending=least, kind="stable").head(1))[0]
