"""Numbers that know where they are from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from markupsafe import Markup

from gradflow.errors import RecordError
from gradflow.wording import format_number, format_percent

Show = Callable[[float], str]


def count(number: float) -> str:
    """Return a whole number as people write it."""
    return f"{number:,.0f}" if math.isfinite(number) else "–"


def times(number: float) -> str:
    """Return a factor with its sign."""
    return f"×{format_number(number)}" if math.isfinite(number) else "–"


def percent(number: float) -> str:
    """Return a share in percent."""
    return format_percent(number) if math.isfinite(number) else "–"


def divide(number: float, by: float) -> float:
    """Return a quotient; NaN, which is shown as a dash, where there is none."""
    return float(number) / float(by) if by else math.nan


@dataclass(frozen=True)
class Value:
    """A number of the page: in HTML a link to where it is from.

    Attributes:
        number: itself.
        text: as it is shown.
        key: the analysis's.
        file: the table that has it, or that it was computed from.
        how: where in the table, or how it was computed from it.
        over: what its interval is over, such as '10 seeds'; empty without one.
    """

    number: float
    text: str
    key: str
    file: str
    how: str
    over: str = ""

    @classmethod
    def of(cls, key: str, file: str, how: str, number: float, show: Show = format_number) -> Value:
        """Return `number` as `show` writes it."""
        return cls(float(number), show(float(number)), key, file, how)

    def shown(self, show: Show) -> Value:
        """Return the same number, written otherwise."""
        return Value.of(self.key, self.file, self.how, self.number, show)

    def __html__(self) -> Markup:
        """Return the link."""
        return self._link("")

    @property
    def cell(self) -> Markup:
        """The link for a table's cell; the tab key passes it by, for the caption has the same link."""
        return self._link(Markup(' tabindex="-1"'))

    def _link(self, more: str) -> Markup:
        return Markup('<a class="number" href="#from-{}" title="{}/{}: {}"{}>{}</a>').format(
            self.key, self.key, self.file, self.how, more, self.text
        )

    def __str__(self) -> str:
        """Return the text alone."""
        return self.text


@dataclass(frozen=True)
class Sheet:
    """A table of an analysis, whose numbers are quoted.

    Attributes:
        key: the analysis's.
        file: the table's.
        frame: itself.
    """

    key: str
    file: str
    frame: pd.DataFrame

    def where(self, rows: pd.Series) -> Sheet:
        """Return the table with `rows` alone."""
        return Sheet(self.key, self.file, self.frame[rows])

    def row_of(self, column: str, *, largest: bool = False) -> pd.Series:
        """Return the row that has the least, or the largest, number in `column`.

        Raises:
            RecordError: if there is no number.
        """
        numbers = self.frame[column].to_numpy(float)
        if np.isnan(numbers).all():
            raise RecordError(f"'{self.key}/{self.file}' is damaged: no number in column '{column}'")
        return self.frame.iloc[int(np.nanargmax(numbers) if largest else np.nanargmin(numbers))]

    def value(self, how: str, number: float, show: Show = format_number) -> Value:
        """Return `number`, which was computed from the table.

        Args:
            how: how, in words.
            number: itself.
            show: how it is written.
        """
        return Value.of(self.key, self.file, how, number, show)

    def cell(
        self, row: pd.Series, column: str, which: str, show: Show = format_number, *, over: str = ""
    ) -> Value:
        """Return what `row` has in `column`, with the 95 % interval where the table has one.

        Args:
            row: of the frame.
            column: its name.
            which: what the row is of, in words.
            show: how numbers are written.
            over: what an interval is over; by default what the row's `seeds` and `batches` say.
        """
        found = self.value(f"{column} of {which}", float(row[column]), show)
        low, high = (float(row.get(f"{column}{end}", math.nan)) for end in ("_low", "_high"))
        if not (math.isfinite(low) and math.isfinite(high)):
            return found
        over = over or repetitions(row)
        text = f"{found.text} [{show(low).lstrip('×')},\u00a0{show(high).lstrip('×')}]"
        how = f"{found.how}, with its 95 % interval" + (f" over {over}" if over else "")
        return Value(found.number, text, found.key, found.file, how, over)


def repetitions(row: pd.Series) -> str:
    """Return over what a row's intervals are: its `seeds`, or the `batches` of one network."""
    seeds, batches = (float(row.get(name, math.nan)) for name in ("seeds", "batches"))
    if seeds > 1:
        return f"{seeds:.0f} seeds"
    return f"{batches:.0f} batches of one network" if batches > 1 else ""


def brackets(rows: Sequence[Sequence[object]]) -> tuple[str, list[str]]:
    """Return over what the intervals of a table are: the same for all of it, else row by row.

    Args:
        rows: cells, some of which are `Value`s.

    Returns:
        What all are over, empty if they differ or there are none; and what each row's are over.
    """
    each = [
        "; ".join(dict.fromkeys(cell.over for cell in row if isinstance(cell, Value) and cell.over))
        for row in rows
    ]
    different = {one for one in each if one}
    return (different.pop(), each) if len(different) == 1 else ("", each)
