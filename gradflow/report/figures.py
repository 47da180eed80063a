"""The figures of a report: what draws each, what its caption says, and how it reads aloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from gradflow import plots
from gradflow.report.changes import Change
from gradflow.report.inline_svg import inline_svg
from gradflow.report.runs import Run


@dataclass(frozen=True)
class FigureKind:
    """One figure of a report.

    Attributes:
        key: names its files.
        draw: makes it of the networks that have what it shows.
        shows: what a reader sees in it, for those who do not.
        caption: how to read it.
        applies: whether a network has what it shows; without one there is no such figure.
        panels: whether each network has a panel of its own.
        numbers: where its numbers are to be read, for those who do not see it.
    """

    key: str
    draw: Callable[[Sequence[plots.Network]], Figure]
    shows: str
    caption: str
    applies: Callable[[plots.Network], bool] = lambda _: True
    panels: bool = False
    numbers: str = "The numbers are in the tables of units below."


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, drawn: as files and for the page, with a remark on what was left out of it."""

    kind: FigureKind
    svg: bytes
    png: bytes
    pdf: bytes
    inline: str
    remark: str = ""


MOST_PANELS = 8
"""Networks that a figure with a panel for each shows: more are better told apart one by one."""

KINDS = (
    FigureKind(
        "training",
        plots.plot_training,
        "loss and error over training iterations, and gradient norm and shortcut share by unit and iteration",
        "Above, loss and error of training batches and of the test data; below, over the same iterations, "
        "every unit's gradient norm and the shortcut's share of its energy, ‖s‖² / (‖s‖² + ‖b‖²). Units are "
        "counted from the input upwards; lines between them are stages. All other figures and tables are "
        "of the last iteration.",
        applies=lambda network: network.over_time is not None,
        panels=True,
        numbers="Loss and error are in the tables of training steps below; the norms and shares of each "
        "iteration are in the interactive view, and those of the last one in the tables of units.",
    ),
    FigureKind(
        "gradient-norm",
        plots.plot_gradient_norm,
        "gradient norm at the input of every residual unit, and its ratio from unit to unit",
        "Above, the norm of the loss's gradient at each unit's input; below, by what factor it changes in "
        "one unit on its way towards the input. A line along 1 passes gradients on unchanged. Between stages "
        "the number of elements changes, so a step there says little.",
    ),
    FigureKind(
        "forward",
        plots.plot_forward,
        "norms of shortcut, branch and sum of every residual unit in the forward pass",
        "What the two operands of each unit's addition bring along. Where the shortcut is far above the "
        "branch, a unit changes its input little.",
        panels=True,
    ),
    FigureKind(
        "backward",
        plots.plot_backward,
        "norms of the gradient's parts through shortcut and branch of every residual unit",
        "What arrives at an addition goes on two ways: through the shortcut as s, through the branch as b. "
        "Both are read from the backward pass itself, not found by subtraction.",
        panels=True,
    ),
    FigureKind(
        "cosines",
        plots.plot_cosines,
        "cosines of shortcut and branch, forward and backward, of every residual unit",
        "At 0 the two ways are orthogonal and their energies add up; below 0 they work against each other.",
    ),
    FigureKind(
        "cancellation",
        plots.plot_cancellation,
        "quantiles over samples of the cancellation ρ of every residual unit, with the line at −1",
        "The branch's gradient along the shortcut's, sample by sample. He et al. (2016, after eq. 5): "
        "gradients do not vanish, since the branch's part is not −1 for all samples of a batch. "
        "The darker band holds nine samples in ten.",
        panels=True,
    ),
    FigureKind(
        "survival",
        plots.plot_survival,
        "quantiles over samples of the survival ratio of every residual unit, with the line at 0",
        "How much of the shortcut's gradient is left once the branch's is added. At ρ = −1 only the part "
        "along s is gone; full cancellation is survival 0.",
        panels=True,
    ),
    FigureKind(
        "branch-share",
        plots.plot_branch_share,
        "the branch's share of the signal's energy in every unit, beside the predicted share",
        "How much of each sum comes from the branch. De & Smith (2020): branches that begin with batch "
        "normalisation all add the same, so their share falls as a / (v₀ + a l) with the units l of a stage "
        "passed, and deep networks start out near the identity. Drawn for runs that meet the conditions.",
        applies=lambda network: bool(network.units["predicted_branch_share"].notna().any()),
        panels=True,
        numbers="The norms that make the shares are in the tables of units below, and the prediction in "
        "those of theory beside measurement.",
    ),
    FigureKind(
        "checks",
        plots.plot_checks,
        "errors of the equation checks against their tolerances",
        "Each check's error over the largest that rounding explains: left of the line at 1 it holds. "
        "Within a row, spans nearer to the loss lie lower. Where a network is not of a statement's form it "
        "need not hold; how far it is off is a finding. An error of 0, or none at all, lies on the edge.",
        applies=lambda network: len(network.checks) > 0,
        numbers="The worst of each statement's numbers are in the tables of equation checks below.",
    ),
    FigureKind(
        "parameters",
        plots.plot_parameters,
        "gradient norm of every parameter tensor in the model's order",
        "Every parameter tensor, stem and head included.",
        panels=True,
        numbers="The numbers are in the tables of parameters below.",
    ),
    FigureKind(
        "spectrum",
        plots.plot_spectrum,
        "singular values of the Jacobians of branches and spans",
        "By what factors a branch, or a span of units, stretches a small change of its input, for the whole "
        "batch: the largest few, and the root of the mean square over all directions of the input. A span "
        "whose singular values are all 1 passes every signal and every gradient on unchanged.",
        applies=lambda network: len(network.jacobians) > 0,
        panels=True,
        numbers="The numbers are in the tables of Jacobians and of singular values below.",
    ),
    FigureKind(
        "paths",
        plots.plot_paths,
        "gradient norm along one path, and the share of all paths, by the length of the path",
        "A network of n units has 2ⁿ paths, of which C(n, k) take the branch in k units. Left, the gradient "
        "at x₀ along one path of length k; right, C(n, k) times that, over the sum of all lengths (Veit et "
        "al. 2016). It is a sum of norms: paths that cancel each other count in full.",
        applies=lambda network: len(network.paths) > 0,
        numbers="The numbers are in the tables of paths below.",
    ),
    FigureKind(
        "lesions",
        plots.plot_lesions,
        "error or loss after units are left out or exchanged",
        "A unit is left out by leaving its branch out of its addition. Several are drawn at random, and so "
        "are pairs of units that exchange places; Kendall’s τ is 1 for the units’ own order.",
        applies=lambda network: len(network.lesions) > 0,
        panels=True,
        numbers="The numbers are in the tables of lesions below.",
    ),
)


def draw_figures(runs: Sequence[Run], changes: Sequence[Change] = ()) -> Iterator[DrawnFigure]:
    """Draw every figure that `runs` have something for, those runs together.

    Args:
        runs: the report's.
        changes: comparisons of runs with the first one of those that were measured alike.
    """
    for kind in KINDS:
        shown = [run for run in runs if kind.applies(run.network)]
        if shown:
            yield _drawn(kind, shown)
        if kind.key == "gradient-norm" and changes:
            yield _drawn(changes_kind(changes), [runs[change.index] for change in changes])


def changes_kind(changes: Sequence[Change]) -> FigureKind:
    """Return the kind of figure that shows comparisons, whatever networks it is given."""
    compared = [change.compared for change in changes]
    baselines = dict.fromkeys(each.baseline for each in compared)
    banded = any(each.comparison.units["low"].notna().any() for each in compared)
    return FigureKind(
        "changes",
        lambda _: plots.plot_changes(compared),
        f"gradient norm of each run over that of {' or '.join(baselines)}, by unit",
        "Each run's gradient norm over that of the first run that was measured alike, unit by unit. "
        + (
            "A band holds all units at once with 95 %: where it is clear of the line along 1, the "
            "repetitions that it is over do not explain the change. Fewer than ten have none."
            if banded
            else "There is no band: fewer than ten repetitions cannot say what chance explains."
        ),
        numbers="The norms that are divided are in the tables of units below; gradflow diff prints ratios.",
    )


def _drawn(kind: FigureKind, having: Sequence[Run]) -> DrawnFigure:
    shown = having[:MOST_PANELS] if kind.panels else having
    remark = "" if len(shown) == len(having) else f"The first {len(shown)} of {len(having)} runs are drawn."
    figure = kind.draw([run.network for run in shown])
    names = ", ".join(run.label for run in shown)
    svg = plots.figure_to_svg(figure)
    figure.set_layout_engine("none")  # laid out once; the second time would take as long again
    alt = f"Figure: {kind.shows}; {names}. {kind.numbers}"
    png, pdf = plots.figure_to_png(figure), plots.figure_to_pdf(figure)
    return DrawnFigure(kind, svg, png, pdf, inline_svg(svg, kind.key, alt), remark)
