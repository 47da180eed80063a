"""Units of the networks in the table: how many there are, and what each is."""

from __future__ import annotations

import cases
import pytest
import torchvision
from torch import nn

from gradflow import build_model, find_units
from gradflow.errors import NoResidualUnitError
from gradflow.units import FoundUnits


def kinds(found: FoundUnits) -> list[tuple[int, str, str]]:
    """Return each unit's stage, shortcut and post-activation."""
    return [(unit.stage, unit.shortcut, unit.post_activation) for unit in found]


@cases.each(cases.ALL)
def test_units_of_the_table(case: cases.Case) -> None:
    """Every unit is found, in order, with the shortcut, the post-activation and the stage it has."""
    found = find_units(case.build(), case.inputs())
    assert kinds(found) == case.kinds
    assert [unit.index for unit in found] == list(range(len(found)))


@cases.each(cases.COUNTED)
def test_units_of_networks_from_elsewhere(case: cases.Counted) -> None:
    """As many units are found as the architecture has, without a word about it."""
    assert len(find_units(case.build(), case.inputs())) == case.units


@cases.each([*cases.ZOO_VARIANTS, *cases.ZOO])
def test_paths_of_zoo_units_are_told_apart(case: cases.Case) -> None:
    """F's parameters are those of the module `branch` and of an exclusive gate, h's those of `shortcut`."""
    found = find_units(case.build(), case.inputs())
    per_stage = len(case.kinds) // 3
    for position, unit in enumerate(found):
        assert unit.name == f"stage{position // per_stage + 1}.{position % per_stage}"
        assert unit.branch_parameters
        for name in unit.branch_parameters:
            assert name.startswith((f"{unit.name}.branch.", f"{unit.name}.gate.")), name
        for name in unit.shortcut_parameters:
            assert name.startswith(f"{unit.name}.shortcut."), name
        if unit.shortcut == "projection":
            assert unit.shortcut_parameters


@cases.each([*cases.ZOO_VARIANTS, *cases.ZOO])
def test_nothing_is_passed_over_in_the_zoo(case: cases.Case) -> None:
    """The zoo has no addition but those of its units."""
    assert find_units(case.build(), case.inputs()).passed_over == []


def test_names_in_other_networks() -> None:
    """A unit is called by the module whose forward adds, wherever it stands in the network."""
    found = find_units(cases.RESNET18.build(), cases.RESNET18.inputs())
    assert [unit.name for unit in found] == [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    found = find_units(cases.GPT2.build(), cases.GPT2.inputs())
    assert [unit.name for unit in found] == [f"transformer.h.{i}" for i in (0, 0, 1, 1)]


def test_downsampling_belongs_to_the_shortcut() -> None:
    """In resnet18 the projection's weights are h's, the two convolutions' F's."""
    unit = find_units(cases.RESNET18.build(), cases.RESNET18.inputs())[2]
    assert unit.shape == (2, 128, 4, 4)
    assert set(unit.shortcut_parameters) == {
        f"layer2.0.downsample.{name}" for name in ("0.weight", "1.weight", "1.bias")
    }
    assert set(unit.branch_parameters) == {
        f"layer2.0.{name}" for name in ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight")
    } | {"layer2.0.bn2.weight", "layer2.0.bn2.bias"}


def test_inner_additions_of_gpt2_are_passed_over() -> None:
    """GELU's tanh form adds x and a power of x in every block: no parameter, so no residual unit."""
    found = find_units(cases.GPT2.build(), cases.GPT2.inputs())
    assert {over.reason for over in found.passed_over} == {
        "neither operand passes parameters of its own between the addition and the fork"
    }
    assert [over.name for over in found.passed_over].count("transformer.h.0.mlp.act") == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda: torchvision.models.vgg11(init_weights=False),
        lambda: torchvision.models.densenet121(num_classes=10),
        lambda: build_model("plain20", width=4),
        lambda: build_model("resnet20", width=4, shortcut="none"),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
    ],
    ids=["vgg11", "densenet121", "plain20", "resnet20 without shortcuts", "sequential"],
)
def test_networks_without_units_are_refused(build) -> None:
    """The error says that there is no unit and how to name blocks, in Python and on the command line."""
    with pytest.raises(NoResidualUnitError, match=r"no residual unit.*units=.*--units") as refusal:
        find_units(build(), cases.images(2, 3, 32, 32)())
    assert "\n" not in str(refusal.value)
