"""Gradient correlations by depth, and transformers' gradients by layer and by depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from common.colours import variant_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from elsewhere.fits import DECAY_LAYERS
from gradflow.plots import figure_style
from gradflow.plots.axes import legend, new_figure
from gradflow.plots.style import INK, use_log_axis
from gradflow.statistics import aggregate
from gradflow.theory import correlations
from gradflow.theory.transformers import post_norm_decay

_PREDICTED: dict[str, Any] = {"color": INK, "linestyle": (0, (4, 2)), "linewidth": 1.1}
_KEYS = {"iteration": 0, "batch_index": 0}


def draw_correlations(connected: pd.DataFrame) -> Figure:
    """Draw the correlation of two inputs' gradients by depth, beside Balduzzi's forms."""
    frame = connected[connected["depth"].notna()].assign(**_KEYS)
    means = aggregate(
        frame[["net", "inputs", "depth", "seed", *_KEYS, "correlation"]],
        ["correlation"],
        by=("net", "inputs", "depth"),
    )
    panels = (
        (("plain", "plain with BN"), r"plain: $2^{-L}$", correlations.plain, False),
        (("residual",), r"residual without BN: $(3/4)^L$", correlations.residual, False),
        (("residual with BN",), r"residual with BN: $L^{-1/2}$", correlations.normalised_residual, True),
    )
    with figure_style():
        figure, axes = new_figure(3.9, 1, 3)
        inputs = list(dict.fromkeys(means["inputs"]))
        for one, (nets, title, predict, log_depth) in zip(axes[0], panels, strict=True):
            drawn = means[means["net"].isin(nets)]
            for number, net in enumerate(nets):
                for place, name in enumerate(inputs):
                    part = drawn[(drawn["net"] == net) & (drawn["inputs"] == name)]
                    label = f"{net}, {name}"
                    _draw(one, part, "depth", "correlation", variant_style(2 * number + place), label)
            depths = np.array(sorted(set(drawn["depth"])), dtype=float)
            one.plot(depths, predict(depths), **_PREDICTED)
            use_log_axis(one, np.concatenate([drawn["correlation"].to_numpy(float), predict(depths)]))
            if log_depth:
                one.set_xscale("log")
            _name_depths(one, depths)
            one.set_title(title, parse_math=True)
            one.set_xlabel("layers $L$", parse_math=True)
            one.legend(fontsize=7, loc="lower left", handlelength=3.2)
        axes[0, 0].set_ylabel("mean cosine of two inputs' gradients")
        legend(figure, "How alike gradients are from input to input", styles=[("predicted", _PREDICTED)])
    return figure


def draw_transformers(transformers: pd.DataFrame) -> Figure:
    """Draw ‖∂E/∂W₂‖ of the last layer by depth and, in one depth, of every layer, beside Xiong's forms."""
    frame = transformers.assign(**_KEYS, gradient_norm=transformers["gradient"])
    means = aggregate(
        frame[["norm", "layers", "layer", "seed", *_KEYS, "gradient_norm"]],
        ["gradient_norm"],
        by=("norm", "layers", "layer"),
    )
    with figure_style():
        figure, axes = new_figure(3.9, 1, 2)
        left, right = axes[0]
        last = means[means["layer"] == means["layers"]]
        deep = means[means["layers"] == DECAY_LAYERS]
        for number, norm in enumerate(("pre", "post")):
            style, label = variant_style(number), f"{norm}-LN"
            ends, along = last[last["norm"] == norm], deep[deep["norm"] == norm]
            _draw(left, ends, "layers", "gradient_norm", style, label)
            _draw(right, along, "layer", "gradient_norm", style, label)
            depth, value = (ends[name].to_numpy(float) for name in ("layers", "gradient_norm"))
            shape = depth**-0.5 if norm == "pre" else np.ones_like(depth)
            left.plot(depth, shape * np.exp(np.log(value / shape).mean()), **_PREDICTED)
        post = deep[deep["norm"] == "post"]
        layer = post["layer"].to_numpy(float)
        end = float(post["gradient_norm"].iloc[-1])
        right.plot(layer, end * post_norm_decay(DECAY_LAYERS - layer), **_PREDICTED)
        left.set_xscale("log")
        _name_depths(left, np.array(sorted(set(last["layers"])), dtype=float))
        for one, part in ((left, last), (right, deep)):
            use_log_axis(one, part["gradient_norm"].to_numpy(float))
            one.set_ylabel("‖∂E/∂W₂‖  (Frobenius norm)")
            one.legend(fontsize=8, handlelength=3.2)
        left.set_title("last layer, by depth")
        left.set_xlabel("layers $L$", parse_math=True)
        right.set_title(f"every layer, $L = {DECAY_LAYERS}$", parse_math=True)
        right.set_xlabel("layer $l$, from the input to the loss", parse_math=True)
        legend(
            figure,
            "Transformers at initialisation",
            styles=[(r"predicted: $L^0$ and $L^{-1/2}$; $(2/3)^{(L-l)/2}$ for post-LN", _PREDICTED)],
            math=True,
        )
    return figure


def _draw(axes: Axes, part: pd.DataFrame, x: str, y: str, style: dict[str, Any], label: str) -> None:
    at = part[x].to_numpy(float)
    axes.plot(at, part[y].to_numpy(float), markersize=4, label=label, **style)
    low, high = (part[f"{y}_{end}"].to_numpy(float) for end in ("low", "high"))
    axes.fill_between(at, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _name_depths(axes: Axes, depths: np.ndarray) -> None:
    axes.xaxis.set_major_locator(FixedLocator(depths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
