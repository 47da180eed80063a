"""Numbers and units of a network as people write them, for figures, reports and the command line."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd


def format_number(value: float, digits: int = 3) -> str:
    """Return `value` as people write it: 0.0125, 3.1·10⁻⁸, 10⁻⁸⁰.

    >>> format_number(0.0125), format_number(3.1e-8), format_number(1e-80), format_number(-12.0)
    ('0.0125', '3.1·10⁻⁸', '10⁻⁸⁰', '−12')
    """
    if not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}g}".replace("-", "−") if abs(value) < 10**digits else f"{value:,.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−") if "." in mantissa else mantissa
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
    return power if mantissa == "1" else f"{mantissa}·{power}"


def format_factor(value: float) -> str:
    """Return a factor from one unit to the next: close to 1, its digits after the point are what matters."""
    return f"{value:.3f}" if 0.8 < value < 1.25 else format_number(value)


def format_times(value: float) -> str:
    """Return a factor with its sign of multiplication."""
    return f"×{format_factor(value)}"


def format_percent(share: float) -> str:
    """Return a share in percent, with the space that does not break.

    >>> format_percent(0.5).split(), format_percent(1e-6).split()
    (['50.0', '%'], ['10⁻⁴', '%'])
    """
    percent = 100 * share
    return f"{percent:.1f}\u00a0%" if 0.1 <= percent <= 99.9 else f"{format_number(percent)}\u00a0%"


def printable(name: str) -> str:
    r"""Return `name` with marks for what is no text in it: control characters, and undecodable bytes.

    >>> printable("run\x1b[2J-1")
    'run�[2J-1'
    """
    return "".join("\ufffd" if unicodedata.category(one) in {"Cc", "Cs"} else one for one in name)


def name_unit(row: Mapping[Hashable, Any]) -> str:
    """Return number, module and shortcut of a unit from its row; the model itself has no module's name."""
    words = [str(row[column]) for column in ("name", "shortcut") if row[column] is not pd.NA and row[column]]
    return f"unit {row['unit']} ({', '.join(words)})"


def name_units(rows: Sequence[Mapping[Hashable, Any]]) -> str:
    """Return the first few units of `rows` as `name_unit` names them, and how many more there are."""
    more = f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else ""
    return ", ".join(map(name_unit, rows[:_LISTED])) + more


_LISTED = 6
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
