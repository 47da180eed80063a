"""What a prediction is, beside which a measurement can be put, and the conditions under which it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Setting = Mapping[str, Any]
"""What was measured, by aspect: `bn`, `trained`, `architecture`, … An aspect that is absent is unknown."""


@dataclass(frozen=True)
class Condition:
    """One thing that a prediction takes for granted.

    Attributes:
        aspect: the key of a `Setting`.
        values: what it may be.
        otherwise: in words, why the prediction is not about anything else.
    """

    aspect: str
    values: tuple[Any, ...]
    otherwise: str

    def holds(self, setting: Setting) -> bool:
        """Return whether `setting` is known to fulfil it."""
        return self.aspect in setting and setting[self.aspect] in self.values


@dataclass(frozen=True)
class Law:
    """A statement that a measurement can be held against.

    Attributes:
        title: what is measured, with its symbol.
        statement: what is predicted.
        source: whose prediction.
        relation: how the measured value should stand to the predicted one.
        conditions: when the prediction holds.
    """

    title: str
    statement: str
    source: str
    relation: Literal["=", ">", "<"] = "="
    conditions: tuple[Condition, ...] = ()

    def outside(self, setting: Setting) -> str:
        """Return in words the first condition that `setting` does not meet; nothing if it meets all."""
        return next((found.otherwise for found in self.conditions if not found.holds(setting)), "")
