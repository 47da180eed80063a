"""The figure of the equation checks: each error beside the largest that rounding explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.plots.axes import legend, new_figure, say
from gradflow.plots.network import Network
from gradflow.plots.style import ALARM, MUTED, figure_style, use_log_axis

_FORMS = {"telescoped": "measured parts", "vjp": "the paper's form"}
_TITLE = "Equation checks: error against tolerance"
_VERDICTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("holds", {"marker": "o", "linestyle": "none", "markersize": 4}),
    (
        "finding: not expected to hold",
        {"marker": "D", "linestyle": "none", "markersize": 3.6, "markerfacecolor": "none"},
    ),
    (
        "FAILED although expected to hold",
        {"marker": "X", "linestyle": "none", "markersize": 7, "color": ALARM},
    ),
    ("tolerance", {"marker": "_", "linestyle": "none", "markersize": 7, "color": MUTED}),
)


def plot_checks(networks: Sequence[Network]) -> Figure:
    """Draw each check's error and tolerance on a log axis: a row a dtype, a column an equation and form.

    A span is drawn at its middle, so that those from a stage's start and those to its end lie apart.
    An error of exactly 0 lies on the lower edge.
    """
    with figure_style():
        checks = pd.concat([network.checks for network in networks]) if networks else pd.DataFrame()
        if checks.empty:
            figure, axes = new_figure(1.6)
            say(axes[0, 0], "no equation was checked: gradflow check does")
            legend(figure, _TITLE)
            return figure
        dtypes = list(dict.fromkeys(checks["dtype"].fillna("")))
        kinds = sorted(set(zip(checks["equation"].fillna(""), checks["form"].fillna(""), strict=True)))
        figure, axes = new_figure(1.2 + 2.4 * len(dtypes), len(dtypes), len(kinds), sharey="row")
        for row, dtype in enumerate(dtypes):
            of_dtype = checks[checks["dtype"].fillna("") == dtype]
            errors = np.concatenate([of_dtype[name].to_numpy(float) for name in ("error", "tolerance")])
            use_log_axis(axes[row, 0], errors)
            axes[row, 0].set_ylabel(f"{dtype}\nrelative error")
            for column, (equation, form) in enumerate(kinds):
                one = axes[row, column]
                one.set_title(f"eq. {equation}" + (f": {_FORMS[form]}" if form in _FORMS else ""))
                one.set_xlabel("middle of the span (unit)")
                one.xaxis.set_major_locator(MaxNLocator(4, integer=True))
                for network in networks:
                    _draw(one, network, dtype, equation, form)
        legend(figure, _TITLE, networks, _VERDICTS)
    return figure


def _draw(axes: Axes, network: Network, dtype: str, equation: str, form: str) -> None:
    every = network.checks
    checks = every[
        (every["dtype"].fillna("") == dtype)
        & (every["equation"] == equation)
        & (every["form"].fillna("") == form)
    ]
    if checks.empty:
        return
    middle = (checks["span_start"] + checks["span_end"]).to_numpy(float) / 2
    floor = axes.get_ylim()[0] if axes.get_yscale() == "log" else 0.0
    error = np.where(checks["error"] == 0, floor, checks["error"].to_numpy(float))
    axes.plot(middle, checks["tolerance"].to_numpy(float), **_VERDICTS[3][1], zorder=1)
    holds = checks["holds"].fillna(value=False).to_numpy(bool)
    expected = checks["expected_to_hold"].fillna(value=False).to_numpy(bool)
    for chosen, (_, style) in zip((holds, ~holds & ~expected, ~holds & expected), _VERDICTS, strict=False):
        if chosen.any():
            axes.plot(middle[chosen], error[chosen], clip_on=False, **({"color": network.colour} | style))
