"""Limits on a network's gradient flow: what each is about, how they are written, and what breaks them.

A limit is an upper or a lower bound on one number of every unit. A number that a unit should have and
does not have, for its gradient is 0 or not finite, breaks every limit: what cannot be judged must not
pass.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradflow.errors import LimitError
from gradflow.record import Record
from gradflow.statistics import with_shares
from gradflow.wording import format_number as number
from gradflow.wording import name_unit

Sign = Literal["<", ">"]


@dataclass(frozen=True)
class Quantity:
    """One number of each unit that can be limited.

    Attributes:
        name: in expressions.
        meaning: what it is.
        of: makes it from units with their shares.
        shortcut: whether only units with a shortcut have it.
    """

    name: str
    meaning: str
    of: Callable[[pd.DataFrame], pd.Series[Any]]
    shortcut: bool = False


def _column(name: str) -> Callable[[pd.DataFrame], pd.Series[Any]]:
    return operator.itemgetter(name)


def _decay(units: pd.DataFrame) -> pd.Series[Any]:
    """Return 1 / gain: infinite where a gradient arrives and none leaves."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return units["grad_out_norm"] / units["grad_in_norm"]


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "decay_per_unit",
            "‖∂E/∂x_{l+1}‖ / ‖∂E/∂x_l‖: by which factor the gradient shrinks in the unit, towards the input",
            _decay,
        ),
        Quantity(
            "growth_per_unit",
            "‖∂E/∂x_l‖ / ‖∂E/∂x_{l+1}‖: by which factor it grows there",
            _column("backward_gain"),
        ),
        Quantity(
            "shortcut_share",
            "‖s‖² / (‖s‖² + ‖b‖²): the shortcut's share of the gradient's energy",
            _column("backward_shortcut_share"),
            shortcut=True,
        ),
        Quantity(
            "branch_share",
            "‖F‖² / (‖h‖² + ‖F‖²): the branch's share of the signal's energy",
            _column("forward_branch_share"),
            shortcut=True,
        ),
        Quantity(
            "survival",
            "‖s + b‖ / ‖s‖ in the median sample: what the branch leaves of the shortcut's gradient",
            _column("survival_p50"),
            shortcut=True,
        ),
        Quantity("nonfinite", "NaN or infinite elements of the unit's tensors", _column("nonfinite")),
    )
}
"""What can be limited, by name."""

_BEYOND: dict[Sign, Callable[[Any, float], Any]] = {"<": operator.lt, ">": operator.gt}
_CONDITION = re.compile(r"\s*(?P<name>\w+)\s*(?:(?P<sign><=?|>=?|[=!]=?)\s*(?P<number>\S+)\s*)?")


@dataclass(frozen=True)
class Limit:
    """One condition under which a network fails: a unit's `quantity` is beyond `value`.

    Attributes:
        quantity: a key of `QUANTITIES`.
        sign: `>`: more than `value` fails; `<`: less does.
        value: the limit itself, which does not fail.
    """

    quantity: str
    sign: Sign
    value: float

    def __post_init__(self) -> None:
        """Refuse what says nothing.

        Raises:
            LimitError: if there is no such quantity, or the value can never, or must always, be passed.
        """
        if self.quantity not in QUANTITIES:
            raise LimitError(
                f"'{self.quantity}' is nothing that can be limited; expected {', '.join(QUANTITIES)}"
            )
        value: Any = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise LimitError(f"the limit on {self.quantity} must be a finite number, not {value!r}")
        share = self.quantity.endswith("share")
        if value < 0 or (share and value > 1):
            span = "from 0 to 1" if share else "of at least 0"
            raise LimitError(f"the limit on {self.quantity} must be a number {span}, not {value:g}")


@dataclass(frozen=True)
class Violation:
    """A limit that some unit breaks.

    Attributes:
        limit: which.
        where: the unit that is furthest beyond it, or the parameter.
        value: its number; NaN if it has none.
        others: how many more units break it.
    """

    limit: Limit
    where: str
    value: float
    others: int

    def __str__(self) -> str:
        """Say which unit, value and limit."""
        limit = f"{'at most' if self.limit.sign == '>' else 'at least'} {self.limit.value:g}"
        value = (
            f"{self.limit.quantity} is {_written(self.value)}"
            if not math.isnan(self.value)
            else f"{self.limit.quantity} has no value, for its gradient is 0, missing or not finite"
        )
        more = f" (and {self.others} more unit{'s' * (self.others > 1)})" if self.others else ""
        return f"{self.where}: {value}, and is to be {limit}{more}"


def read_limits(expression: str) -> tuple[Limit, ...]:
    """Read what to fail on: `decay_per_unit > 1.5 or shortcut_share < 0.1 or nonfinite`.

    Conditions are separated by `or` or a comma; `nonfinite` alone stands for `nonfinite > 0`.

    Raises:
        LimitError: if it is not of that form.
    """
    return tuple(_read_limit(part) for part in re.split(r",|\bor\b", expression))


def _read_limit(text: str) -> Limit:
    condition = _CONDITION.fullmatch(text)
    if condition is None:
        raise LimitError(
            f"'{text.strip()}' is no condition to fail on; expected a name, < or >, and a number, such as "
            "decay_per_unit > 1.5"
        )
    name, sign, value = condition["name"], condition["sign"], condition["number"]
    if name in QUANTITIES and sign is None and name == "nonfinite":
        return Limit(name, ">", 0)
    if sign not in {"<", ">"} and name in QUANTITIES:
        raise LimitError(f"'{text.strip()}' is no condition to fail on; {name} takes < or >, and a number")
    try:
        limit = float(value or "nan")
    except ValueError as error:
        raise LimitError(f"'{text.strip()}': '{value}' is no number") from error
    return Limit(name, "<" if sign == "<" else ">", limit)


def find_violations(record: Record, limits: Iterable[Limit]) -> list[Violation]:
    """Return for each limit that is broken the unit that breaks it most; every pass is judged by itself.

    Parameters that are not finite break a limit on `nonfinite`, too, those of stem and head included.

    Raises:
        LimitError: if no unit of the network has what a limit is about.
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
    if np.isnan(values).any():
        place = int(np.isnan(values).argmax())
    row = units.iloc[[place]].to_dict("records")[0]
    others = len(units["unit"].unique()) - 1
    passes = [
        f"{words} {row[column]}"
        for column, words in (("iteration", "iteration"), ("seed", "seed"), ("batch_index", "batch"))
        if len(record.units[column].unique()) > 1
    ]
    where = ", ".join([name_unit(row), *passes])
    return Violation(limit, where, float(values[place]), int(others))


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
