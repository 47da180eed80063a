"""Blocks that a user names outright, with `units=`."""

from __future__ import annotations

import cases
import pytest
from small_networks import Chain, Residual, branch, rows
from torch import Tensor, nn

from gradflow import build_model, find_units
from gradflow.errors import NoResidualUnitError, ProbeError

IMAGES = cases.images(2, 3, 8, 8)
PLAIN_BLOCKS = [f"stage{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]


@pytest.mark.parametrize(
    "units", [r"stage\d\.\d+", PLAIN_BLOCKS, tuple(PLAIN_BLOCKS)], ids=["regex", "list", "tuple"]
)
def test_blocks_of_a_plain_network(units) -> None:
    """A plain network's blocks are units without shortcut, with all their parameters in the branch."""
    model = build_model("plain20", width=4)
    found = find_units(model, IMAGES(), units=units)
    assert [unit.name for unit in found] == PLAIN_BLOCKS
    assert {unit.shortcut for unit in found} == {"none"}
    assert [unit.stage for unit in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for unit in found:
        own = dict(model.get_submodule(unit.name).named_parameters())
        assert set(unit.branch_parameters) == {f"{unit.name}.{name}" for name in own}
        assert unit.shortcut_parameters == ()


def test_names_may_come_from_a_generator() -> None:
    """Any iterable of names will do, a generator included."""
    found = find_units(build_model("plain20", width=4), IMAGES(), units=(name for name in PLAIN_BLOCKS))
    assert len(found) == 9


def test_selection_keeps_only_what_is_named() -> None:
    """On a residual network a selection keeps the additions in those modules, and says what it left out."""
    found = find_units(build_model("preact20", width=4), IMAGES(), units=r"stage2\.\d")
    assert [(unit.name, unit.shortcut) for unit in found] == [
        ("stage2.0", "padding"),
        ("stage2.1", "identity"),
        ("stage2.2", "identity"),
    ]
    assert [over.name for over in found.passed_over] == [
        f"stage{stage}.{unit}" for stage in (1, 3) for unit in range(3)
    ]
    assert {over.reason for over in found.passed_over} == {"it is not among the units that were asked for"}


def test_a_named_stage_is_one_block() -> None:
    """The outermost named module is the block: what is inside it is not measured beside it."""
    found = find_units(build_model("plain20", width=4), IMAGES(), units=r"stage\d(\.\d+)?")
    assert [unit.name for unit in found] == ["stage1", "stage2", "stage3"]


def test_blocks_without_gradient_are_passed_over() -> None:
    """A named module whose output does not depend on its input is no unit, and the reason is said."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Linear(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.weight(x.new_ones(len(x), 1))

    model = nn.Sequential(Residual(branch()), Constant(), Residual(branch()))
    found = find_units(model, rows(), units=r"\d")
    assert [(unit.name, unit.shortcut) for unit in found] == [("0", "identity"), ("2", "identity")]
    assert [(over.name, over.reason) for over in found.passed_over] == [
        ("1", "it was named, but its output does not depend on its input")
    ]


@pytest.mark.parametrize("units", ["stage", "layer.*", ["nosuch"], []], ids=repr)
def test_selections_that_match_nothing_are_refused(units) -> None:
    """The error repeats the selection, says that names match as a whole, and lists the modules at the top."""
    with pytest.raises(NoResidualUnitError, match=r"a name must match as a whole.*stem, stage1") as refusal:
        find_units(build_model("preact20", width=4), IMAGES(), units=units)
    assert repr(units) in str(refusal.value)


def test_a_bad_regular_expression_is_refused() -> None:
    """An expression that cannot be compiled is an error of ours, with the expression in it."""
    with pytest.raises(ProbeError, match=r"units: '\(\[' is not a regular expression"):
        find_units(Chain(), rows(), units="([")
