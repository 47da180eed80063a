"""Figures of the per-sample statistics: how the branch's gradient stands to the shortcut's in each sample.

He et al. 2016 argue after eq. 5 that the gradient cannot vanish, because the branch's part is not −1 times
the shortcut's for *all* samples of a batch. These figures show how far the samples are from that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gradflow.plots.axes import label_units, legend, mark_stages, name_panel, new_figure, say
from gradflow.plots.lines import draw_values
from gradflow.plots.network import Network
from gradflow.plots.style import ALARM, MUTED, figure_style
from gradflow.wording import format_number

_SPANS = "spans from unit l to the end of its run"
_NO_SHORTCUT = "no value: there is no shortcut,\nor it was not finite"
_NO_SPAN = "no value: no units with identity shortcut\nand nothing after the addition"
_LINEAR_LIMIT = 8.0


def plot_cancellation(networks: Sequence[Network]) -> Figure:
    """Draw the quantiles over samples of ρ = ⟨b, s⟩ / ‖s‖² by unit, with the line ρ = −1."""
    return _plot(
        networks,
        "cancellation",
        "Cancellation by sample: is the branch ever −1 times the shortcut?",
        "ρ = ⟨b, s⟩ / ‖s‖²",
        line=-1.0,
        line_label="ρ = −1: the part along s is gone",
    )


def plot_survival(networks: Sequence[Network]) -> Figure:
    """Draw the quantiles over samples of ‖s + b‖ / ‖s‖ by unit, with the line at 0."""
    return _plot(
        networks,
        "survival",
        "Survival by sample: what is left of the shortcut's gradient",
        "‖s + b‖ / ‖s‖",
        line=0.0,
        line_label="0: full cancellation",
    )


def _plot(
    networks: Sequence[Network], statistic: str, title: str, label: str, *, line: float, line_label: str
) -> Figure:
    with figure_style():
        prefixes = [
            prefix for prefix in ("", "span_") if prefix == "" or _known(networks, f"span_{statistic}")
        ]
        figure, axes = new_figure(1.0 + 2.3 * len(networks), len(networks) or 1, len(prefixes))
        for row, network in zip(axes, networks, strict=True):
            for one, prefix in zip(row, prefixes, strict=True):
                mark_stages(one, [network])
                _draw_quantiles(one, network, f"{prefix}{statistic}", line)
                label_units(one, [network], "residual unit l")
            name_panel(row[0], network)
            row[0].set_ylabel(f"{label}  (ratio)")
            if len(prefixes) > 1:
                row[1].set_title(_SPANS, color=MUTED, fontweight="normal")
        legend(
            figure,
            title,
            styles=[
                ("median", {}),
                ("5–95 % of samples", {"linewidth": 7, "alpha": 0.4}),
                ("all samples", {"linewidth": 7, "alpha": 0.15}),
                (line_label, {"color": ALARM, "linestyle": (0, (4, 2)), "linewidth": 1.2}),
            ],
        )
    return figure


def _draw_quantiles(axes: Axes, network: Network, statistic: str, line: float) -> None:
    units = network.units.set_index("unit")
    unit = np.arange(units.index.min(), units.index.max() + 1)
    least, p05, median, p95, most = (
        units[f"{statistic}_{quantile}"].reindex(unit).to_numpy(float)
        for quantile in ("min", "p05", "p50", "p95", "max")
    )
    if not np.isfinite(median).any():
        say(axes, _NO_SPAN if statistic.startswith("span_") else _NO_SHORTCUT)
        return
    # Steps, not slopes: a unit beside one without a value, or the only one, is seen all the same.
    edges = np.arange(unit[0], unit[-1] + 2) - 0.5
    for low, high, alpha in ((least, most, 0.18), (p05, p95, 0.35)):
        axes.stairs(high, edges, baseline=low, fill=True, color=network.colour, alpha=alpha, linewidth=0)
    draw_values(axes, unit, median, color=network.colour, marker=".")
    axes.axhline(line, color=ALARM, linestyle=(0, (4, 2)), linewidth=1.2)
    bottom, top = min(np.nanmin(least), line), max(np.nanmax(most), line)
    if max(-bottom, top) > _LINEAR_LIMIT:
        axes.set_yscale("symlog", linthresh=2, linscale=1.0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
    else:
        axes.set_ylim(bottom - 0.06 * (top - bottom), top + 0.14 * (top - bottom))


def _known(networks: Sequence[Network], statistic: str) -> bool:
    return any(np.isfinite(network.units[f"{statistic}_p50"].to_numpy(float)).any() for network in networks)
