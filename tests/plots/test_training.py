"""Curves and surfaces over training iterations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _records import make_record

from gradflow import plots
from gradflow.plots.training import learning_rate_drops
from gradflow.record import Record

LENGTH = 40
MEASURED = (0, 10, 30, 40)


def trained(seed: int = 0, measured: tuple[int, ...] = MEASURED) -> Record:
    """Return the record of a run of 40 steps, whose gradients fall by half between measurements."""
    units = []
    for number, iteration in enumerate(measured):
        frame = make_record(stages=(3, 3), seed=seed).units
        units.append(
            frame.assign(iteration=iteration, grad_in_norm=0.5**number * (1 + frame["unit"].astype(float)))
        )
    iterations = np.arange(1, LENGTH + 1)
    steps = pd.DataFrame(
        {
            "iteration": iterations,
            "loss": 2.0 / iterations,
            "error": 0.9 / np.sqrt(iterations),
            "param_grad_norm": 1.0,
            "learning_rate": np.where(iterations <= 5, 0.01, np.where(iterations <= 20, 0.1, 0.01)),
            "test_loss": np.where(iterations % 20 == 0, 1.0, np.nan),
            "test_error": np.where(iterations % 20 == 0, 0.4, np.nan),
        }
    )
    meta = make_record().meta | {"checkpoint": {"name": "newest.pt", "sha256": "0", "iteration": LENGTH}}
    return Record(pd.concat(units, ignore_index=True), steps=steps, meta=meta)


def test_curves_and_surfaces_show_the_numbers() -> None:
    """Test errors stand at their iterations, and each unit's norm in its row at each measurement's column."""
    network = plots.network_from(trained(), "run")
    loss, error, norms, shares = plots.plot_training([network]).axes[:4]
    drawn = error.lines[1].get_xydata()
    np.testing.assert_allclose(drawn[np.isfinite(drawn[:, 1])], [[20, 40.0], [40, 40.0]])
    np.testing.assert_allclose(loss.lines[0].get_ydata(), 2.0 / np.arange(1, LENGTH + 1))
    (surface,) = norms.images
    values = np.asarray(surface.get_array()).reshape(6, len(MEASURED))
    np.testing.assert_allclose(values, np.outer(np.arange(1, 7), 0.5 ** np.arange(4)))
    assert shares.get_xlabel() == "iteration"
    assert loss.get_xlim() == norms.get_xlim() == (0, LENGTH)


def test_learning_rate_drops_are_marked_in_every_panel() -> None:
    """The drop after iteration 20 is marked in curves and surfaces; the rise after warm-up is no drop."""
    record = trained()
    assert learning_rate_drops(record.steps) == [20]
    figure = plots.plot_training([plots.network_from(record, "run")])
    for axes in figure.axes[:4]:
        assert any(list(line.get_xdata()) == [20, 20] for line in axes.lines), axes.get_ylabel()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_several_runs_and_others_beside_them(count: int) -> None:
    """Each trained network has its four panels; one that was only probed has none."""
    networks = [plots.network_from(trained(index), f"run {index}", index) for index in range(count)]
    probed = plots.network_from(make_record(stages=(3, 3)), "probed")
    assert probed.over_time is None
    figure = plots.plot_training([*networks, probed])
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert sorted(title for title in titles if title) == [f"run {index}" for index in range(count)]


def test_little_to_draw() -> None:
    """One measurement, values that are not finite, and a network without shortcuts are drawn as they are."""
    once = trained(measured=(0,))
    units = trained().units
    spoilt = Record(units.assign(grad_in_norm=np.inf), steps=once.steps, meta=once.meta)
    plain = Record(units.assign(grad_shortcut_norm=np.nan), steps=once.steps, meta=once.meta)
    networks = [plots.network_from(record, str(i), i) for i, record in enumerate((once, spoilt, plain))]
    svg = plots.figure_to_svg(plots.plot_training(networks)).decode()
    assert svg.count("no value: no shortcut, or not finite") == 2
