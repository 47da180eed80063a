"""Limits on a network's gradient flow: what each is about, and how they are written.

A limit is an upper or a lower bound on one number of every unit.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradflow.errors import LimitError
from gradflow.stage_ends import ending_at_additions

Sign = Literal["<", ">"]


@dataclass(frozen=True)
class Quantity:
    """One number of each unit that can be limited.

    Attributes:
        name: in expressions.
        meaning: what it is.
        of: makes it from units with their shares.
        shortcut: whether only units with a shortcut have it.
        branch: whether only units have it whose branch was not dropped for the whole batch.
    """

    name: str
    meaning: str
    of: Callable[[pd.DataFrame], pd.Series[Any]]
    shortcut: bool = False
    branch: bool = False


def _column(name: str) -> Callable[[pd.DataFrame], pd.Series[Any]]:
    return operator.itemgetter(name)


def _decay(units: pd.DataFrame) -> pd.Series[Any]:
    """Return 1 / gain: infinite where a gradient arrives and none leaves."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return ending_at_additions(units)["grad_out_norm"] / units["grad_in_norm"]


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
            branch=True,
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
