"""Figures: one function a figure, from averaged tables to a `matplotlib.figure.Figure`.

No figure touches pyplot's state, and all are drawn in one style of the project's own.
"""

from __future__ import annotations

from gradflow.plots.checks import plot_checks
from gradflow.plots.comparison import Compared, plot_changes
from gradflow.plots.depth import plot_backward, plot_cosines, plot_forward, plot_gradient_norm
from gradflow.plots.export import figure_to_pdf, figure_to_png, figure_to_svg
from gradflow.plots.network import Network, network_from, networks_from
from gradflow.plots.parameters import plot_parameters
from gradflow.plots.paths import plot_lesions, plot_paths
from gradflow.plots.samples import plot_cancellation, plot_survival
from gradflow.plots.spectrum import plot_spectrum
from gradflow.plots.style import figure_style, network_colour
from gradflow.plots.theory import plot_branch_share
from gradflow.plots.training import plot_training
from gradflow.wording import format_number

__all__ = [
    "Compared",
    "Network",
    "figure_style",
    "figure_to_pdf",
    "figure_to_png",
    "figure_to_svg",
    "format_number",
    "network_colour",
    "network_from",
    "networks_from",
    "plot_backward",
    "plot_branch_share",
    "plot_cancellation",
    "plot_changes",
    "plot_checks",
    "plot_cosines",
    "plot_forward",
    "plot_gradient_norm",
    "plot_lesions",
    "plot_parameters",
    "plot_paths",
    "plot_spectrum",
    "plot_survival",
    "plot_training",
]
