"""Figures of Jacobians, paths and lesions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from _records import make_record, with_path_tables
from matplotlib.figure import Figure

from gradflow import plots
from gradflow.record import Record

Draw = Callable[[Sequence[plots.Network]], Figure]

FIGURES: dict[str, Draw] = {
    "spectrum": plots.plot_spectrum,
    "paths": plots.plot_paths,
    "lesions": plots.plot_lesions,
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def networks(*records: Record) -> list[plots.Network]:
    """Average `records` for drawing."""
    return plots.networks_from(records, [f"network {number}" for number in range(len(records))])


def several_seeds() -> Record:
    """Return a record of three seeds."""
    return Record.concat([with_path_tables(make_record(stages=(3, 3), seed=seed)) for seed in range(3)])


@every_figure
def test_drawn_and_labelled(draw: Draw) -> None:
    """Networks of any depth are drawn together, with a label on every axis, and the same bytes each time."""
    drawn = networks(with_path_tables(make_record(stages=(2, 3))), several_seeds())
    figure = draw(drawn)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    assert plots.figure_to_svg(figure) == plots.figure_to_svg(draw(drawn))


@every_figure
def test_band_only_where_there_are_repetitions(draw: Draw) -> None:
    """An interval is drawn for several seeds, and none for one."""
    one = draw(networks(with_path_tables(make_record(stages=(3, 3)))))
    several = draw(networks(several_seeds()))
    counts = [sum(len(axes.collections) for axes in figure.axes) for figure in (one, several)]
    assert counts[0] == 0
    assert counts[1] > 0


def test_paths_and_shares_are_the_tables() -> None:
    """What is drawn is the gradient along one path, and the share of all."""
    (network,) = networks(with_path_tables(make_record(stages=(4,))))
    one_path, share = plots.plot_paths([network]).axes
    assert one_path.get_yscale() == "log"
    assert one_path.lines[0].get_ydata().tolist() == pytest.approx([0.01 * 0.6**k for k in range(5)])
    assert sum(share.lines[0].get_ydata()) == pytest.approx(1)


def test_lesions_are_beside_the_whole_network() -> None:
    """Each unit's error has the unlesioned network's as its dashed line; without classes it is the loss."""
    record = with_path_tables(make_record(stages=(4,)))
    alone = plots.plot_lesions(networks(record)).axes[0]
    assert alone.lines[0].get_ydata() == [0.07, 0.07]
    assert np.asarray(alone.lines[1].get_ydata()).tolist() == pytest.approx([0.08, 0.09, 0.10, 0.11])
    record.lesions["error"] = np.nan
    assert plots.plot_lesions(networks(record)).axes[0].get_ylabel() == "loss without one unit"


def test_branches_alone_and_spans_alone() -> None:
    """A record with one kind of Jacobian has one panel."""
    record = with_path_tables(make_record(stages=(3,)))
    for kind, label in (("branch", "∂F/∂xₗ"), ("span", "$∂x_L/∂x_l$")):
        (network,) = networks(record)
        own = {
            name: getattr(network, name)[getattr(network, name)["jacobian"] == kind]
            for name in ("jacobians", "singular_values")
        }
        only = plots.Network(**{**vars(network), **own})
        (axes,) = plots.plot_spectrum([only]).axes
        assert axes.get_ylabel().endswith(label)
