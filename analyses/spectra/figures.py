"""Figures of the analysis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from common.colours import colour_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from gradflow.plots import figure_style
from gradflow.plots.axes import legend, mark_bands, new_figure
from gradflow.plots.style import MUTED, use_log_axis

_PREDICTED = {"marker": "_", "linestyle": "none", "markersize": 14, "color": MUTED}
_RMS = {"marker": "o", "linestyle": "none", "markersize": 5}
_LARGEST = {"marker": "^", "linestyle": "none", "markersize": 6, "markerfacecolor": "none"}


def draw_spans(spans: pd.DataFrame, verdicts: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw root mean square and largest singular value of every span, a panel each, and the predictions."""
    names = list(dict.fromkeys(spans["span"]))
    with figure_style():
        figure, axes = new_figure(4.4, columns=len(names))
        for one, name in zip(axes[0], names, strict=True):
            part = spans[spans["span"] == name]
            for row in part.to_dict("records"):
                position = list(titles).index(row["network"])
                colour = colour_of(str(row["network"]))
                for column, style, shift in (("root_mean_square", _RMS, -0.14), ("largest", _LARGEST, 0.14)):
                    low, high = row[f"{column}_low"], row[f"{column}_high"]
                    one.plot([position + shift] * 2, [low, high], color=colour)
                    one.plot([position + shift], [row[column]], **{"color": colour} | style)
            for row in verdicts[verdicts["span"] == name].to_dict("records"):
                position = list(titles).index(row["network"])
                root = row["law"] == "mean_square"
                predicted = row["predicted"] ** 0.5 if root else row["predicted"]
                one.plot([position + (-0.14 if root else 0.14)], [predicted], **_PREDICTED)
            one.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
            use_log_axis(one, part[["root_mean_square", "largest"]].to_numpy().ravel())
            one.set_title(name if name == "network" else f"{name}, inside")
            _name_networks(one, list(titles))
        axes[0, 0].set_ylabel(r"singular values of $∂x_L/∂x_l$", parse_math=True)
        styles = [("root mean square", _RMS), ("largest", _LARGEST), ("predicted", _PREDICTED)]
        legend(figure, "Singular values of spans at initialisation", styles=styles)
    return figure


def draw_branches(branches: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the root mean square singular value of every branch over units."""
    with figure_style():
        figure, axes = new_figure(3.6)
        one = axes[0, 0]
        last = int(branches["unit"].max())
        size = (last + 1) // 3
        mark_bands(one, [(stage, stage * size, (stage + 1) * size - 1) for stage in range(3)])
        drawn: list[np.ndarray] = []
        styles = []
        for key, title in titles.items():
            part = branches[branches["network"] == key]
            value = part["root_mean_square"].to_numpy(float)
            if not (value > 0).all():
                continue  # ReZero's branches are 0
            colour = colour_of(key)
            unit = part["unit"].to_numpy(float)
            one.plot(unit, value, color=colour, marker=".")
            low, high = (part[f"root_mean_square_{end}"].to_numpy(float) for end in ("low", "high"))
            one.fill_between(unit, low, high, color=colour, alpha=0.18, linewidth=0)
            styles.append((title, {"color": colour, "marker": "."}))
            drawn.append(value)
        use_log_axis(one, np.concatenate(drawn))
        one.axhline(1, color=MUTED, linewidth=0.9, zorder=1)
        one.set_xlabel("residual unit, from the input (left) to the loss (right)")
        one.set_ylabel("root mean square singular\nvalue of ∂F/∂xₗ")
        one.set_xlim(-0.8, last + 0.8)
        legend(figure, "Branches at initialisation", styles=styles)
    return figure


def _name_networks(axes: Axes, keys: list[str]) -> None:
    axes.set_xlim(-0.6, len(keys) - 0.4)
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(keys)))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: keys[round(value)]))
    axes.tick_params(axis="x", rotation=60)
