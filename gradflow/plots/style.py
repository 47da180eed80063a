"""The look of every figure: colours, lines, numbers on axes.

Colours are from Okabe and Ito's palette as seaborn ships it, told apart with any common kind of colour
vision, in an order that keeps neighbours distinct in grey. The greys are exactly the ones named here, so
that a page can exchange them for its own (dark) theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes

from gradflow.wording import format_number

INK = "#1f2328"
MUTED = "#59636e"
GRID = "#d9dee4"
BAND = "#f2f4f7"
PAPER = "#fefefe"
ALARM = "#c0143c"

_ORDER = (0, 3, 2, 4, 1, 9, 5, 7)
NETWORK_COLOURS: tuple[str, ...] = tuple(
    str(sns.color_palette("colorblind").as_hex()[index]) for index in _ORDER
)
"""One a network, the same in every figure of a report."""

WIDTH = 8.4
"""Width of a figure in inches."""

_RC: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.facecolor": "none",
    "figure.facecolor": PAPER,
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 3.2,
    "path.simplify": True,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",
    "svg.hashsalt": "gradflow",
    "text.color": INK,
    "text.parse_math": False,  # labels are people's own and may hold a $
    "xtick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.color": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.labelsize": 8.5,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw and save in this style; the process's own settings are as before afterwards."""
    settings: dict[Any, Any] = {**sns.axes_style("ticks"), **_RC}
    with mpl.rc_context(settings):
        yield


def network_colour(index: int) -> str:
    """Return the colour of the network that is drawn as number `index`; after eight they come again."""
    return NETWORK_COLOURS[index % len(NETWORK_COLOURS)]


def network_dashes(index: int) -> str | tuple[int, tuple[float, ...]]:
    """Return the line style that tells networks of one colour apart."""
    return ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))[(index // len(NETWORK_COLOURS)) % 4]


def use_log_axis(axes: Axes, values: np.ndarray) -> None:
    """Make `axes` logarithmic in y, ticked so that any range has some five legible numbers.

    Args:
        axes: where.
        values: everything that is drawn; what is not finite and positive counts for nothing.
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return
    axes.set_yscale("log")
    low, high = math.log10(positive.min()), math.log10(positive.max())
    margin = max(0.06 * (high - low), 0.02)
    above = 2.5 * margin  # the stages' names stand there
    axes.set_ylim(10 ** max(low - margin, -307), 10 ** min(high + above, 307))
    decades = high - low + margin + above
    if decades < 1:
        locator: ticker.Locator = ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    elif decades < 3:
        locator = ticker.LogLocator(subs=(1, 2, 5), numticks=12)
    else:
        locator = ticker.LogLocator(numticks=8)
    axes.yaxis.set_major_locator(locator)
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: format_number(value)))
