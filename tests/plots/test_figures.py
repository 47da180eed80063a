"""Every figure, on records of every kind: drawn, labelled, in one style, with nothing left in pyplot."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from _records import make_record
from matplotlib.figure import Figure

from gradflow import plots
from gradflow.record import Record
from gradflow.record.schema import UNITS

Draw = Callable[[Sequence[plots.Network]], Figure]

FIGURES: dict[str, Draw] = {
    "gradient_norm": plots.plot_gradient_norm,
    "forward": plots.plot_forward,
    "backward": plots.plot_backward,
    "cosines": plots.plot_cosines,
    "cancellation": plots.plot_cancellation,
    "survival": plots.plot_survival,
    "checks": plots.plot_checks,
    "parameters": plots.plot_parameters,
}
every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def without_values(record: Record) -> Record:
    """Return `record` with every measured number null."""
    floats = [column.name for column in UNITS if column.kind == "float64"]
    return Record(record.units.assign(**dict.fromkeys(floats, np.nan)), meta=record.meta)


def scaled(record: Record, factor: float) -> Record:
    """Return `record` with every gradient norm multiplied."""
    norms = [name for name in record.units if str(name).startswith("grad_") and str(name).endswith("norm")]
    units = record.units.assign(**{name: record.units[name] * factor for name in norms})
    parameters = record.parameters.assign(grad_norm=record.parameters["grad_norm"] * factor)
    return Record(units, parameters, record.checks, meta=record.meta)


def some_nulls(record: Record) -> Record:
    """Return `record` with every other unit's gradients null and one infinite."""
    units = record.units.copy()
    units.loc[::2, ["grad_in_norm", "cancellation_p50", "backward_cosine"]] = np.nan
    units.loc[1, "grad_in_norm"] = np.inf
    return Record(units, record.parameters, record.checks, meta=record.meta)


CASES: dict[str, Callable[[], list[Record]]] = {
    "one unit": lambda: [make_record(stages=(1,))],
    "333 units": lambda: [make_record("preact1001", stages=(111, 111, 111), checks=False)],
    "pre- beside post-activation": lambda: [
        make_record(stages=(4, 4)),
        make_record("resnet", stages=(4, 4), identity=False),
    ],
    "other depths": lambda: [make_record(stages=(3, 3)), make_record("deep", stages=(5, 2, 4))],
    "plain": lambda: [make_record("plain", stages=(4, 4), shortcuts=False, decades=-80)],
    "plain beside residual": lambda: [
        make_record("plain", stages=(4, 4), shortcuts=False, decades=80),
        make_record(stages=(4, 4)),
    ],
    "three seeds": lambda: [Record.concat([make_record(stages=(3, 3), seed=seed) for seed in range(3)])],
    "all null": lambda: [without_values(make_record(stages=(3, 3)))],
    "some null": lambda: [some_nulls(make_record(stages=(3, 3)))],
    "tiny and huge": lambda: [
        scaled(make_record(stages=(3,)), 1e-80),
        scaled(make_record("huge", stages=(3,)), 1e80),
    ],
}


def draw_all(records: Sequence[Record]) -> list[plots.Network]:
    """Return the networks of `records`, named by number."""
    return plots.networks_from(records, [f"network {number}" for number in range(len(records))])


@every_figure
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_figure_of_every_record(case: Callable[[], list[Record]], draw: Draw) -> None:
    """Every figure is drawn without a warning, as SVG that parses, with a label on every axis."""
    figure = draw(draw_all(case()))
    ET.fromstring(plots.figure_to_svg(figure))
    for axes in figure.axes:
        if axes.get_visible() and axes.lines:
            shared = axes.get_shared_x_axes().get_siblings(axes) + axes.get_shared_y_axes().get_siblings(axes)
            assert any(one.get_xlabel() for one in [axes, *shared])
            assert any(one.get_ylabel() for one in [axes, *shared, *figure.axes])


@pytest.mark.parametrize("draw", [plots.plot_gradient_norm, plots.plot_backward, plots.plot_checks])
def test_ten_networks(draw: Draw) -> None:
    """Networks beyond the number of colours are drawn too, each named."""
    figure = draw(draw_all([make_record(f"net{number}", stages=(2,)) for number in range(10)]))
    written = plots.figure_to_svg(figure).decode()
    assert all(f"network {number}" in written for number in range(10))


def texts(figure: Figure) -> str:
    """Return all that is written on `figure`."""
    return " | ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@every_figure
def test_null_is_said(draw: Draw) -> None:
    """Where nothing was measured the figure says so."""
    written = texts(draw(draw_all([without_values(make_record(stages=(2, 2)))])))
    assert "no value" in written or "no equation was checked" in written


def test_missing_network_is_named() -> None:
    """Beside a network with a shortcut, one without is named as having no cosine."""
    records = [make_record(stages=(3,)), make_record("plain", stages=(3,), shortcuts=False)]
    assert "no value for network 1: no shortcut" in texts(plots.plot_cosines(draw_all(records)))


def test_line_is_the_record() -> None:
    """The gradient figure's line has the units and the norms of the record, in the network's colour."""
    record = make_record(stages=(3, 3))
    (network,) = draw_all([record])
    line = plots.plot_gradient_norm([network]).axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), record.units["grad_in_norm"], rtol=1e-12)
    assert list(line.get_xdata()) == [0, 1, 2, 3, 4, 5]
    assert line.get_color() == network.colour
    assert plots.plot_gradient_norm([network]).axes[0].get_yscale() == "log"


def test_seeds_draw_a_band_and_one_seed_does_not() -> None:
    """A band is drawn exactly where there are repetitions."""
    seeds = [make_record(stages=(3, 3), seed=seed) for seed in range(3)]
    one, several = ([record] for record in (seeds[0], Record.concat(seeds)))
    assert len(plots.plot_gradient_norm(draw_all(one)).axes[0].collections) == 0
    assert len(plots.plot_gradient_norm(draw_all(several)).axes[0].collections) == 1


def test_cancellation_has_its_line_at_minus_one_in_view() -> None:
    """The line ρ = −1 is drawn, and inside the axes, also when all samples are far from it."""
    axes = plots.plot_cancellation(draw_all([make_record(stages=(4,))])).axes[0]
    assert -1.0 in [line.get_ydata()[0] for line in axes.lines]
    low, high = axes.get_ylim()
    assert low < -1 < high


def test_checks_show_what_fails() -> None:
    """A check that fails although it was expected to hold has a mark of its own; one that holds has not."""
    record = make_record(stages=(4,))
    holding = plots.plot_checks(draw_all([record]))
    assert "X" not in {line.get_marker() for axes in holding.axes for line in axes.lines}
    checks = record.checks.assign(holds=False)
    failing = plots.plot_checks(draw_all([Record(record.units, record.parameters, checks, meta=record.meta)]))
    assert "X" in {line.get_marker() for axes in failing.axes for line in axes.lines}


def test_legend_of_checks_names_those_that_have_some() -> None:
    """A network without a check has no mark in the figure, so the legend does not name it."""
    records = [make_record(stages=(3,)), make_record(stages=(3,), checks=False)]
    written = texts(plots.plot_checks(draw_all(records)))
    assert "network 0" in written
    assert "network 1" not in written


def test_a_line_does_not_bridge_a_gap() -> None:
    """Where a unit has no value the line is interrupted: nobody measured what would be drawn there."""
    record = make_record(stages=(7,))
    record.units.loc[[2, 5], "grad_in_norm"] = [np.nan, np.inf]
    lines = plots.plot_gradient_norm(draw_all([record])).axes[0].lines
    drawn = [list(line.get_xdata()) for line in lines]
    assert drawn == [[0, 1], [3, 4], [6]]
    assert all(line.get_marker() == "." for line in lines)


def test_axis_begins_with_the_first_unit() -> None:
    """Units that are counted from 100 on fill the axis; those from 0 on do so, too."""
    record = make_record(stages=(9,))
    late = Record(record.units.assign(unit=record.units["unit"] + 100), meta=record.meta)
    for one, first in ((record, 0), (late, 100)):
        low, high = plots.plot_gradient_norm(draw_all([one])).axes[0].get_xlim()
        assert first - 1 < low < first
        assert first + 8 < high < first + 9


def test_colour_stays_with_the_network() -> None:
    """Eight networks have eight colours; the ninth has the first's again, with other dashes."""
    networks = draw_all([make_record(stages=(1,), seed=number) for number in range(9)])
    assert len({network.colour for network in networks[:8]}) == 8
    assert networks[8].colour == networks[0].colour
    assert networks[8].dashes != networks[0].dashes


def test_stages_are_marked() -> None:
    """Stages are named where the networks share them; where they differ, their first units are ringed."""
    same = texts(plots.plot_gradient_norm(draw_all([make_record(stages=(3, 3))] * 1)))
    assert "stage 0" in same
    assert "stage 1" in same
    other = [make_record(stages=(3, 3)), make_record("deep", stages=(5, 2))]
    written = texts(plots.plot_gradient_norm(draw_all(other)))
    assert "stage 0" not in written
    assert "first unit of a stage" in written


def test_last_iteration_is_drawn() -> None:
    """Of a record with several training iterations the last is drawn."""
    record = Record.concat([make_record(stages=(2,)), make_record(stages=(2,), iteration=7, growth=0.5)])
    (network,) = draw_all([record])
    assert network.units["iteration"].tolist() == [7, 7]


def test_same_figure_same_bytes() -> None:
    """SVG and PNG of a record are the same bytes every time."""
    networks = draw_all([make_record(stages=(3, 3))])
    for save in (plots.figure_to_svg, plots.figure_to_png):
        assert save(plots.plot_gradient_norm(networks)) == save(plots.plot_gradient_norm(networks))


def test_drawing_leaves_matplotlib_alone() -> None:
    """Neither pyplot's figures nor the process's settings are touched."""
    settings = mpl.rcParams.copy()
    plots.figure_to_png(plots.plot_cosines(draw_all([make_record(stages=(2,))])))
    assert mpl.rcParams == settings
    assert mpl._pylab_helpers.Gcf.get_num_fig_managers() == 0


@pytest.mark.parametrize("label", ["a <b> & $x_1$", "_hidden", "50 % \\alpha"])
def test_labels_are_taken_as_they_are(label: str) -> None:
    """A label is text: no markup, no formula, and not hidden for beginning with an underscore."""
    network = plots.network_from(make_record(stages=(2,)), label)
    figure = plots.plot_gradient_norm([network])
    root = ET.fromstring(plots.figure_to_svg(figure))
    assert label in "".join(root.itertext())


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.05, "0.05"), (1234.0, "1,234"), (1e-80, "10⁻⁸⁰"), (-2.5e7, "−2.5·10⁷"), (np.nan, "–")],
)
def test_numbers_as_people_write_them(value: float, written: str) -> None:
    """Numbers on axes and in sentences have superscripts and true minus signs."""
    assert plots.format_number(value) == written


def test_empty_parameters_are_drawn_as_such() -> None:
    """A record without a parameter table gives a figure that says so."""
    record = make_record(stages=(2,))
    bare = Record(record.units, pd.DataFrame(), meta=record.meta)
    assert "no parameter has a finite gradient" in texts(plots.plot_parameters(draw_all([bare])))
