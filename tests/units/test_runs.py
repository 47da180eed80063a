"""Stages, and runs of units to which eq. 3 applies."""

from __future__ import annotations

from itertools import pairwise

import cases
import pytest
from small_networks import Chain, rows

from gradflow import build_model
from gradflow.units.finding import require_units, stages
from gradflow.units.modules import watching
from gradflow.units.runs import ending_at_additions, identity_runs
from gradflow.units.tracing import Bystander, TracedUnit, UnitTracer


def trace(model, inputs) -> list[TracedUnit]:
    """Return the units of one forward pass, with the graph."""
    tracer = UnitTracer(Bystander())
    with watching(model, tracer, None):
        model(inputs)
    tracer.settle()
    require_units(model, tracer, None)
    return tracer.units


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("preact20", [(0, 2, 0), (4, 5, 1), (7, 8, 2)]),
        ("preact29-bottleneck", [(1, 2, 0), (4, 5, 1), (7, 8, 2)]),
        ("resnet20", []),
    ],
)
def test_runs_of_the_zoo(name: str, expected: list[tuple[int, int, int]]) -> None:
    """A run ends where its stage does, at the addition: the activation behind it is the transition's."""
    units = trace(build_model(name, width=4), cases.images(2, 3, 8, 8)())
    runs = identity_runs(units)
    assert [(run.first, run.last, run.stage) for run in runs] == expected
    assert [run.end for run in runs] == [last + 1 for _, last, _ in expected]


def test_an_activation_that_the_next_unit_shares_is_no_f_of_the_last_one() -> None:
    """The last unit of a stage ends at its addition; units that all have such an f keep it."""
    units = trace(build_model("preact20", width=4), cases.images(2, 3, 8, 8)())
    ending = ending_at_additions(units)
    assert [unit.index for unit in units if unit.post_activation != "identity"] == [2, 5]
    assert all(unit.post_activation == "identity" and unit.out == unit.total for unit in ending)
    assert ending[2].out != units[2].out == units[3].fork
    post = trace(build_model("resnet20", width=4), cases.images(2, 3, 8, 8)())
    assert ending_at_additions(post) == post
    alone = trace(build_model("resnet20", width=4, activation="bn-after"), cases.images(2, 3, 8, 8)())
    assert {unit.post_activation for unit in ending_at_additions(alone)} == {"batch_norm+relu"}


def test_a_scaled_unit_splits_a_run() -> None:
    """One unit of another form divides the units of a stage into two runs."""
    count = iter(range(5))
    model = Chain(lambda x, f: (0.5 * x if next(count) == 2 else x) + f(x), units=5)
    runs = identity_runs(trace(model, rows().requires_grad_()))
    assert [(run.first, run.last) for run in runs] == [(0, 1), (3, 4)]


def test_stages_are_runs_of_equal_shapes() -> None:
    """A stage is told by the shape of y_l, whatever the batch."""
    units = trace(build_model("resnet14", width=4), cases.images(2, 3, 8, 8)())
    assert stages(units) == [0, 0, 1, 1, 2, 2]
    assert stages([]) == []


def test_a_unit_ends_where_the_next_begins() -> None:
    """x_{l+1} is read at the next unit's fork; the last unit's is found as the others' were."""
    units = trace(build_model("preact20", width=4), cases.images(2, 3, 8, 8)())
    assert all(unit.out == following.fork for unit, following in pairwise(units))
    assert units[2].out != units[2].total
    assert units[1].out == units[1].total
    units = trace(build_model("resnet14", width=4), cases.images(2, 3, 8, 8)())
    assert units[-1].out != units[-1].total
    assert units[-1].out.node.name().startswith("Relu")
