"""The look of every figure: colours, lines, numbers on axes.

The networks' colours begin with three of Okabe and Ito's; the light ones of that palette cannot be seen
well as lines on paper (WCAG 2.1 asks for 3 to 1), so darker ones follow, chosen to be told apart with any
common kind of colour vision. All colours are exactly the ones named here, so that a page can exchange
them for its own (dark) theme.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

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

NETWORK_COLOURS: tuple[str, ...] = (
    *("#0173b2", "#d55e00", "#029e73", "#a8408f"),
    *("#7a4a00", "#9a6cf0", "#1b2a6b", "#5c2a2a"),
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


def diverging_colours(middle: Literal["light", "dark"], count: int = 11) -> list[str]:
    """Return the colours of a scale that goes two ways from a middle, purple below and crimson above.

    Neither end is a network's colour, and both are told apart with any common kind of colour vision.

    Args:
        middle: the ground that the middle fades into.
        count: how many; odd, so that there is one in the middle.
    """
    lightness = {"light": 38, "dark": 60}[middle]
    scale = sns.diverging_palette(270, 0, s=85, l=lightness, n=count, center=middle)
    return [str(colour) for colour in scale.as_hex()]


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
