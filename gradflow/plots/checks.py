"""The figure of the equation checks: each error over the largest that rounding explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import NDArray

from gradflow.plots.axes import legend, new_figure, say
from gradflow.plots.network import Network
from gradflow.plots.style import ALARM, BAND, MUTED, figure_style
from gradflow.wording import format_number

_TITLE = "Equation checks: error over tolerance"
_ROW = 0.26
"""Height of a statement's row in inches."""

_SPREAD = 0.32
"""How far from the middle of its row a span is drawn at most."""

_MOST_MARKS = 500
"""Marks of one kind and network that are drawn one by one; more lie on each other, and fill a file."""

_VERDICTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("holds", {"marker": "o", "linestyle": "none", "markersize": 3, "alpha": 0.6}),
    (
        "finding: not expected to hold",
        {"marker": "D", "linestyle": "none", "markersize": 3, "markerfacecolor": "none"},
    ),
    (
        "FAILED although expected to hold",
        {"marker": "X", "linestyle": "none", "markersize": 7, "color": ALARM},
    ),
)

_Statement = tuple[str, str]


def plot_checks(networks: Sequence[Network]) -> Figure:
    """Draw each check's error over its tolerance on a log axis: a row a statement, a column a dtype.

    Errors of 0 lie on the left edge, those that are null on the right one.
    """
    with figure_style():
        checks = pd.concat([network.checks for network in networks]) if networks else pd.DataFrame()
        if checks.empty:
            figure, axes = new_figure(1.6)
            say(axes[0, 0], "no equation was checked: gradflow check does")
            legend(figure, _TITLE)
            return figure
        dtypes = list(dict.fromkeys(checks["dtype"].fillna("")))
        statements = sorted(set(_statements(checks)))
        figure, axes = new_figure(1.5 + _ROW * len(statements), 1, len(dtypes), sharey="row")
        axes[0, 0].set_ylim(len(statements) - 0.5, -0.5)
        axes[0, 0].set_yticks(range(len(statements)), [f"{number}  {form}" for number, form in statements])
        axes[0, 0].set_ylabel("equation")
        for one, dtype in zip(axes[0], dtypes, strict=True):
            of_dtype = checks[checks["dtype"].fillna("") == dtype]
            low, high = _limits(of_dtype)
            one.set_xscale("log")
            one.set_xlim(low, high)
            one.xaxis.set_major_locator(LogLocator(numticks=6))
            one.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
            one.minorticks_off()
            one.set_title(dtype)
            one.set_xlabel("error / tolerance")
            one.grid(axis="y", visible=False)
            for row in range(0, len(statements), 2):
                one.axhspan(row - 0.5, row + 0.5, color=BAND, zorder=-2, linewidth=0)
            one.axvline(1.0, color=MUTED, linewidth=1.0)
            for network in networks:
                own = network.checks
                _draw(one, network, own[own["dtype"].fillna("") == dtype], statements)
        legend(figure, _TITLE, [network for network in networks if len(network.checks)], _VERDICTS)
    return figure


def _statements(checks: pd.DataFrame) -> list[_Statement]:
    return list(zip(checks["equation"].fillna(""), checks["form"].fillna(""), strict=True))


def _ratios(checks: pd.DataFrame) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: NDArray[np.float64] = checks["error"].to_numpy(float) / checks["tolerance"].to_numpy(float)
    return ratios


def _limits(checks: pd.DataFrame) -> tuple[float, float]:
    ratios = _ratios(checks)
    positive = ratios[np.isfinite(ratios) & (ratios > 0)]
    low, high = (positive.min(), positive.max()) if len(positive) else (0.1, 1.0)
    return min(low, 0.1) / 4, max(high, 1.0) * 10


def _draw(axes: Axes, network: Network, checks: pd.DataFrame, statements: Sequence[_Statement]) -> None:
    if checks.empty:
        return
    left, right = axes.get_xlim()
    ratios = _ratios(checks)
    ratios = np.where(ratios == 0, left, np.where(np.isnan(ratios), right, ratios))
    middle = (checks["span_start"] + checks["span_end"]).to_numpy(float)
    last = max(middle.max(), 1.0)
    rows = np.array([statements.index(statement) for statement in _statements(checks)])
    heights = rows + _SPREAD * (2 * middle / last - 1)
    holds = checks["holds"].fillna(value=False).to_numpy(bool)
    expected = checks["expected_to_hold"].fillna(value=False).to_numpy(bool)
    for chosen, (_, style) in zip((holds, ~holds & ~expected, ~holds & expected), _VERDICTS, strict=True):
        if chosen.any():
            drawn = axes.plot(
                ratios[chosen], heights[chosen], clip_on=False, **({"color": network.colour} | style)
            )
            drawn[0].set_rasterized(bool(chosen.sum() > _MOST_MARKS))
