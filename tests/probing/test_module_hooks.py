"""Hooks on the zoo's own modules against hooks on the graph's edges."""

from __future__ import annotations

import cases
import pytest
import torch
from small_networks import Chain, labels, rows

from gradflow import probe
from gradflow.errors import NoResidualUnitError
from gradflow.probing.module_hooks import probe_modules

COLUMNS = (
    "x_norm",
    "shortcut_norm",
    "branch_norm",
    "grad_sum_norm",
    "grad_shortcut_norm",
    "grad_branch_norm",
)

PARTS = {"grad_shortcut_norm", "grad_branch_norm"}


@cases.each([*cases.ZOO_VARIANTS, *cases.ZOO])
@pytest.mark.parametrize("bn", ["batch", "running", "frozen"])
def test_both_ways_give_the_same_numbers(case: cases.Case, bn: str) -> None:
    """On every unit of the zoo, what modules' hooks see is what edges' hooks see, to float64's rounding.

    Under exclusive gating the module `shortcut` is called with x and the gate g(x), so a hook on it
    sees the gradient of its first argument alone: the part that goes through g is not in it. There
    the two parts are not compared, and everything else is.
    """
    model, inputs = case.build().double(), case.inputs().double()
    by_edges = probe(model, inputs, case.targets(), bn=bn).units.set_index("name")
    by_modules = probe_modules(model, inputs, case.targets(), bn=bn)
    assert list(by_modules) == by_edges.index.tolist()
    exclusive = model.spec.shortcut.startswith("gate:exclusive")
    for column in COLUMNS:
        if exclusive and column in PARTS:
            continue
        expected = [norms[column] for norms in by_modules.values()]
        assert by_edges[column].tolist() == pytest.approx(expected, rel=1e-13, abs=0), column


def test_they_agree_in_float32_on_channels_last_images() -> None:
    """In the working dtype and memory format the norms agree to 1e-6."""
    case = cases.ZOO[0]
    model = case.build().to(memory_format=torch.channels_last)
    inputs = case.inputs().to(memory_format=torch.channels_last)
    by_edges = probe(model, inputs, case.targets()).units.set_index("name")
    for name, norms in probe_modules(model, inputs, case.targets()).items():
        for column in COLUMNS:
            assert by_edges[column][name] == pytest.approx(norms[column], rel=1e-6), (name, column)


def test_networks_without_such_modules_are_refused() -> None:
    """A network whose units have no modules of these names is told that `probe` needs none."""
    with pytest.raises(NoResidualUnitError, match=r"Chain has no module with a `shortcut` and a `branch`"):
        probe_modules(Chain(), rows(), labels())
