"""A projection beside a linear branch is one linear map; what the graph cannot tell, names may."""

from __future__ import annotations

import pytest
import torch
from small_networks import Chain, pictures, rows
from torch import Tensor, nn

from gradflow import build_model, find_units


class Beside(nn.Module):
    """One module added to another, both of one tensor.

    Args:
        shorter: whatever it is called.
        longer: likewise.
        name: of the first.
    """

    def __init__(self, shorter: nn.Module, longer: nn.Module, name: str = "side") -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.name = name
        self.add_module(name, shorter)
        self.longer = longer

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        return self.get_submodule(self.name)(z) + self.longer(z)


def linear(*between: nn.Module) -> nn.Module:
    """Return two linear maps with something between them."""
    return nn.Sequential(nn.Linear(4, 4), *between, nn.Linear(4, 4))


def shortcuts(model: nn.Module) -> list[str]:
    """Return the shortcut of each unit, of which there may be none if two maps are linear."""
    found = find_units(nn.Sequential(model, Chain(units=1)), rows())
    reasons = [over.reason.partition(",")[0] for over in found.passed_over]
    assert reasons in ([], ["both operands are linear in one tensor"])
    assert len(found) + len(reasons) == 2
    return [unit.shortcut for unit in found[:-1]]


@pytest.mark.parametrize(
    "between", [nn.Identity(), nn.Dropout(0.5), nn.BatchNorm1d(4)], ids=lambda layer: type(layer).__name__
)
def test_two_linear_maps_are_no_unit(between: nn.Module) -> None:
    """So it is with dropout between them, and with batch normalisation, which training ends up folding in."""
    assert shortcuts(Beside(nn.Linear(4, 4), linear(between))) == []


@pytest.mark.parametrize(
    "between", [nn.ReLU(), nn.LayerNorm(4), nn.Softmax(-1)], ids=lambda layer: type(layer).__name__
)
def test_a_bent_branch_beside_a_projection_is_a_unit(between: nn.Module) -> None:
    """An activation, or another normalisation, makes the branch more than the projection is."""
    assert shortcuts(Beside(nn.Linear(4, 4), linear(between))) == ["projection"]


def test_beside_x_itself_a_linear_branch_is_a_branch() -> None:
    """x + W x has an identity shortcut: He et al. 2016 have units of one layer."""
    assert shortcuts(Beside(nn.Identity(), nn.Linear(4, 4))) == ["identity"]


@pytest.mark.parametrize("name", ["shortcut", "downsample", "skip_connection", "residual0"])
def test_a_module_that_is_called_a_shortcut_is_one(name: str) -> None:
    """Where the graph cannot tell, the author's word is taken, and that is said."""
    model = Beside(nn.Linear(4, 4), linear(), name)
    assert shortcuts(model) == ["projection"]
    (unit,) = find_units(model, rows())
    assert unit.explanation is not None
    assert "both are linear in x_l, and by its name" in unit.explanation.why


@pytest.mark.parametrize("name", ["shortcuts", "scale", "lora_A"])
def test_other_names_say_nothing(name: str) -> None:
    """Only a whole word does."""
    assert shortcuts(Beside(nn.Linear(4, 4), linear(), name)) == []


class Residual(nn.Module):
    """A network whose name is a word for shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.residual = Beside(nn.Linear(4, 4), linear())

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x)


def test_a_name_that_both_paths_share_says_nothing() -> None:
    """In a module called `residual` every parameter is."""
    assert shortcuts(Residual()) == []


def test_the_papers_one_layer_units_are_found_with_a_convolved_shortcut() -> None:
    """The zoo calls its shortcuts what they are."""
    found = find_units(build_model("resnet8-single", shortcut="conv", width=4), pictures(side=8))
    assert [unit.shortcut for unit in found] == ["projection"] * 6


def test_a_linear_model_beside_a_deep_one_is_taken_for_a_unit_and_explained() -> None:
    """W z + MLP(z) is of the form of a projection unit: what it was decided by is said."""
    (unit,) = find_units(Beside(nn.Linear(4, 4), linear(nn.ReLU())), rows())
    assert unit.explanation is not None
    assert unit.explanation.why == (
        "one operand is x_l, projected, and is the shorter path; the other passes 4 parameters between x_l "
        "and the addition and is not linear in x_l (relu); no other unit ends where it starts or starts "
        "where it ends"
    )


def test_units_in_a_chain_are_not_said_to_be_alone() -> None:
    """In a network of such units each ends where the next one starts."""
    found = find_units(build_model("resnet14", shortcut="conv", width=4), pictures(side=8))
    assert len(found) == 6
    for unit in found:
        assert unit.explanation is not None
        assert "no other unit" not in unit.explanation.why
        assert "not linear in x_l (relu)" in unit.explanation.why


def test_padding_before_pooling_is_the_poolings() -> None:
    """A shortcut that pads its width is `padding`; a pooling that pads its own input is not."""

    def pooled(x: Tensor) -> Tensor:
        return nn.functional.max_pool2d(nn.functional.pad(x, (1, 1, 1, 1)), 3, 1)

    def widened(x: Tensor) -> Tensor:
        return nn.functional.pad(nn.functional.avg_pool2d(x, 1), (0, 0, 0, 0, 0, 4))

    def unpadded(x: Tensor) -> Tensor:
        return nn.functional.pad(x, (0, 0))

    for shortcut, width, kind in ((pooled, 4, "other"), (widened, 8, "padding"), (unpadded, 4, "identity")):
        model = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(4, width, 1)])

        def forward(images: Tensor, shortcut=shortcut, model=model) -> Tensor:
            x = model[0](images)
            return shortcut(x) + model[1](torch.relu(x))

        model.forward = forward
        assert [unit.shortcut for unit in find_units(model, pictures())] == [kind]
