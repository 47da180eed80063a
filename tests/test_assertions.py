"""`gradflow.testing`, on networks whose flow is known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import nn

import gradflow
from gradflow.errors import LimitError, NoResidualUnitError
from gradflow.testing import assert_gradient_flow

# y = x + a x: the gradient grows by 1 + a in each unit, and of its energy 1 / (1 + a²) is the shortcut's.
GROWING, SHRINKING = 0.5, -0.5


def scaling(*factors: float) -> nn.Module:
    """Return units y = x + a x, one for each a."""
    return LinearBranches(*(factor * torch.eye(4) for factor in factors))


@pytest.mark.parametrize(
    ("factors", "limits", "unit", "value"),
    [
        ((0.0, SHRINKING), {"max_decay_per_unit": 1.9}, 1, "decay_per_unit is 2,"),
        ((0.0, GROWING), {"max_growth_per_unit": 1.4}, 1, "growth_per_unit is 1.5,"),
        ((GROWING, 2.0), {"min_shortcut_share": 0.25}, 1, "shortcut_share is 0.2,"),
        ((0.1, GROWING), {"min_branch_share": 0.05}, 0, "branch_share is 0.009901,"),
        ((0.1, SHRINKING), {"min_survival": 0.6}, 1, "survival is 0.5,"),
        ((0.1, float("nan")), {}, 1, "nonfinite is 80,"),
    ],
)
def test_a_limit_that_is_broken_is_named(
    factors: tuple[float, ...], limits: dict[str, float], unit: int, value: str
) -> None:
    """The message names model, unit, value and limit; the same limit, a little wider, passes."""
    model = scaling(*factors)
    before = Snapshot(model)
    with pytest.raises(
        AssertionError, match="the gradient flow of LinearBranches is out of bounds"
    ) as failed:
        assert_gradient_flow(model, rows(), loss=torch.sum, **limits)
    before.assert_unchanged()
    line = str(failed.value).splitlines()[1]
    assert line.startswith(f"unit {unit} (")
    assert value in line
    if limits:
        ((name, limit),) = limits.items()
        assert f"{limit:g}" in line
        wider = {name: limit * 1.2 if name.startswith("max") else limit * 0.1}
        record = assert_gradient_flow(model, rows(), loss=torch.sum, **wider)
        assert len(record.units) == 2
    else:
        assert len(assert_gradient_flow(scaling(0.1), rows(), loss=torch.sum).units) == 1


def test_limits_that_say_nothing_are_refused() -> None:
    """Before anything is measured, and as gradflow's own error and not as a failed assertion."""
    model = Chain()
    for limit in (-1.0, float("nan"), float("inf"), "2", True):
        with pytest.raises(LimitError, match="the limit on decay_per_unit must be"):
            assert_gradient_flow(model, rows(), labels(), max_decay_per_unit=limit)
    with pytest.raises(LimitError, match="nothing to assert: give max_decay_per_unit"):
        assert_gradient_flow(model, rows(), labels(), no_nonfinite=False)
    with pytest.raises(NoResidualUnitError, match="has no residual unit"):
        assert_gradient_flow(nn.Linear(4, 3), rows(), labels())


def test_no_nonfinite_can_be_left_out() -> None:
    """A network with NaN weights in its head passes limits on other things only if told so."""
    model = seeded(lambda: Chain(units=2))
    with torch.no_grad():
        model.branches[1][2].weight.fill_(float("nan"))
    with pytest.raises(AssertionError, match="nonfinite is "):
        assert_gradient_flow(model, rows(), labels())
    with pytest.raises(AssertionError, match="decay_per_unit has no value"):
        assert_gradient_flow(model, rows(), labels(), no_nonfinite=False, max_decay_per_unit=100)


def test_it_is_reached_through_the_package() -> None:
    """`import gradflow` is enough, and does not load torch before the assertion is used."""
    code = (
        "import gradflow, sys; early = 'torch' in sys.modules; "
        "gradflow.testing.assert_gradient_flow; print(early)"
    )
    root = Path(gradflow.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
