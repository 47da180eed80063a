"""The figure of the parameters: the gradient norm of every tensor, in the model's order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradflow.plots.axes import legend, log_axes_together, mark_bands, panels, say, say_above, stage_bounds
from gradflow.plots.network import Network
from gradflow.plots.style import figure_style

_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("weights", {"marker": "o", "linestyle": "none", "markersize": 3}),
    ("biases", {"marker": "o", "linestyle": "none", "markersize": 3, "markerfacecolor": "none"}),
)


def plot_parameters(networks: Sequence[Network]) -> Figure:
    """Draw the gradient norm of every parameter tensor on a log axis, a panel a network."""
    with figure_style():
        figure, axes = panels(networks, 2.2, columns=1)
        for one, network in zip(axes, networks, strict=True):
            one.set_ylabel("‖∂E/∂θ‖\n(Frobenius norm)")
            one.set_xlabel("parameter tensor, in the model's order")
            one.xaxis.set_major_locator(MaxNLocator(10, integer=True))
            _draw(one, network)
        log_axes_together(axes, [network.parameters["grad_norm"].to_numpy(float) for network in networks])
        legend(figure, "Gradient norm by parameter tensor", styles=_KINDS)
    return figure


def _draw(axes: Axes, network: Network) -> None:
    norms = network.parameters["grad_norm"].to_numpy(float)
    shown = np.isfinite(norms) & (norms > 0)
    if not shown.any():
        say(axes, "no value: no parameter has a finite gradient")
        return
    mark_bands(axes, _stage_bands(network))
    biases = network.parameters["name"].str.endswith("bias").fillna(value=False).to_numpy(bool)
    order = np.arange(len(norms))
    for chosen, (_, style) in zip((shown & ~biases, shown & biases), _KINDS, strict=True):
        axes.plot(order[chosen], norms[chosen], color=network.colour, **style)
    axes.set_xlim(-1, len(norms))
    if left_out := int((~shown).sum()):
        say_above(axes, f"{left_out} of {len(norms)} are null, 0 or not finite: not drawn")


def _stage_bands(network: Network) -> list[tuple[int, int, int]]:
    """Return (stage, first tensor, last tensor) of every stage that has any."""
    unit = network.parameters["unit"].to_numpy(float, na_value=np.nan)
    inside = {
        stage: np.flatnonzero((unit >= first) & (unit <= last))
        for stage, first, last in stage_bounds(network.units)
    }
    return [(stage, int(tensors[0]), int(tensors[-1])) for stage, tensors in inside.items() if len(tensors)]
