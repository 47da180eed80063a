"""What breaks a limit: the unit that is furthest beyond it, with its number.

A number that a unit should have and does not have, for its gradient is 0 or not finite, breaks every
limit: what cannot be judged must not pass. A branch that was dropped for the whole batch, as stochastic
depth does, is not held to a limit on branches.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradflow.errors import LimitError
from gradflow.findings.limits import QUANTITIES, Limit, Sign
from gradflow.findings.nonfinite import locate_nonfinite
from gradflow.findings.passes import of_pass
from gradflow.record import Record
from gradflow.statistics import left_out, with_shares
from gradflow.wording import format_number as number
from gradflow.wording import name_unit

_BEYOND: dict[Sign, Callable[[Any, float], Any]] = {"<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Violation:
    """A limit that some unit breaks.

    Attributes:
        limit: which.
        where: the unit that is furthest beyond it, or the parameter.
        value: its number; NaN if it has none.
        others: how many more units break it.
        note: what is known beside that; may be empty.
    """

    limit: Limit
    where: str
    value: float
    others: int
    note: str = ""

    def __str__(self) -> str:
        """Say which unit, value and limit."""
        limit = f"{'at most' if self.limit.sign == '>' else 'at least'} {self.limit.value:g}"
        value = (
            f"{self.limit.quantity} is {_written(self.value)}"
            if not math.isnan(self.value)
            else f"{self.limit.quantity} has no value, for its gradient is 0, missing or not finite"
        )
        more = f" (and {self.others} more unit{'s' * (self.others > 1)})" if self.others else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.where}: {value}, and is to be {limit}{more}{note}"


def find_violations(record: Record, limits: Iterable[Limit]) -> list[Violation]:
    """Return for each limit that is broken the unit that breaks it most; every pass is judged by itself.

    Parameters that are not finite break a limit on `nonfinite`, too, those of stem and head included.

    Raises:
        LimitError: if no unit of the network has what a limit is about, or every branch was dropped.
    """
    units = with_shares(record.units)
    found = []
    for limit in limits:
        quantity = QUANTITIES[limit.quantity]
        judged = units[units["shortcut"] != "none"] if quantity.shortcut else units
        if judged.empty:
            raise LimitError(
                f"{limit.quantity} cannot be limited here: no unit of this network has a shortcut"
            )
        if quantity.branch:
            judged = judged[~left_out(judged)]
            if judged.empty:
                raise LimitError(
                    f"{limit.quantity} cannot be limited here: every unit's branch was dropped for the whole "
                    "batch, as stochastic depth does; give a larger batch, or call model.eval()"
                )
        values = quantity.of(judged).astype("Float64").to_numpy(np.float64, na_value=np.nan)
        broken = np.isnan(values) | _BEYOND[limit.sign](values, limit.value)
        if broken.any():
            found.append(_worst(limit, judged[broken], values[broken], record))
        elif limit.quantity == "nonfinite":
            found += _in_parameters(limit, record)
    return found


def describe_violations(violations: Sequence[Violation]) -> str:
    """Return a line for each violation."""
    return "\n".join(map(str, violations))


def _worst(limit: Limit, units: pd.DataFrame, values: np.ndarray[Any, Any], record: Record) -> Violation:
    # A number that is missing says more than any other.
    missing = math.inf if limit.sign == ">" else -math.inf
    order = np.where(np.isnan(values), missing, values)
    place = int(order.argmax() if limit.sign == ">" else order.argmin())
    # A gradient that vanishes in a unit is what leaves those before it without a number.
    if np.isnan(values).any() and not (np.isinf(values).any() and limit.sign == ">"):
        place = int(np.isnan(values).argmax())
    elif np.isnan(values).any():
        place = int(np.isinf(values).argmax())
    row = units.iloc[[place]].to_dict("records")[0]
    others = len(units["unit"].unique()) - 1
    passes = [
        f"{words} {row[column]}"
        for column, words in (("iteration", "iteration"), ("seed", "seed"), ("batch_index", "batch"))
        if len(record.units[column].unique()) > 1
    ]
    where = ", ".join([name_unit(row), *passes])
    note = _began(record, units.iloc[place]) if limit.quantity == "nonfinite" else ""
    return Violation(limit, where, float(values[place]), int(others), note)


def _began(record: Record, row: pd.Series[Any]) -> str:
    """Return where in the pass of `row` numbers stopped being finite."""
    tables = {name: of_pass(getattr(record, name), row) for name in ("units", "parameters", "steps")}
    return locate_nonfinite(Record(**tables, meta=record.meta))


def _in_parameters(limit: Limit, record: Record) -> list[Violation]:
    counts = record.parameters["nonfinite"].fillna(0).to_numpy(float)
    broken = _BEYOND[limit.sign](counts, limit.value)
    if not broken.any():
        return []
    first = int(broken.argmax())
    return [Violation(limit, f"parameter {record.parameters['name'].iloc[first]}", float(counts[first]), 0)]


def _written(value: float) -> str:
    if math.isinf(value):
        return "infinite"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else number(value)
