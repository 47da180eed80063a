"""What `find_units` says about its decisions: fork, paths, addition and reason of each."""

from __future__ import annotations

import inspect
import re

import cases
import pytest
import torch
from small_networks import Chain, Residual, branch, pictures, rows, seeded
from torch import Tensor, nn

from gradflow import build_model, find_units
from gradflow.errors import NoResidualUnitError


def line_of(function: object, text: str) -> str:
    """Return `module:line` of the only line in `function` that holds `text`."""
    lines, first = inspect.getsourcelines(function)
    (at,) = [number for number, line in enumerate(lines) if text in line]
    return f"{function.__globals__['__name__']}:{first + at}"


def test_an_identity_unit_is_explained() -> None:
    """The addition's line, its fork, a bare shortcut, and the branch's operations in their order."""
    found = find_units(nn.Sequential(nn.Linear(4, 4), Residual(branch()), Residual(branch())), rows())
    first, second = (unit.explanation for unit in found)
    assert first.addition == f"{line_of(Residual.forward, 'x + self.f')}; operand 1 is the shortcut"
    assert first.fork == "addmm in the model itself, 5 × 4"
    assert second.fork == "add in 1, 5 × 4, where unit 0 ends"
    assert first.shortcut == "x_l itself"
    assert first.branch == "addmm ×2, tanh; 4 parameters"
    assert first.why == (
        "one operand is x_l, unchanged; the other passes 4 parameters between x_l and the addition"
    )


def test_a_projection_is_explained() -> None:
    """In resnet18 the shortcut's operand is the second, and holds a convolution and a normalisation."""
    why = find_units(cases.RESNET18.build(), cases.RESNET18.inputs())[2].explanation
    assert why.addition.startswith("torchvision.models.resnet:")
    assert why.addition.endswith("operand 2 is the shortcut")
    assert why.shortcut == "convolution, batch_norm; 3 parameters"
    assert why.branch == "convolution ×2, batch_norm ×2, relu; 6 parameters"
    assert "projected" in why.why


def test_a_fork_at_the_networks_input_is_explained() -> None:
    """Nothing made x_0: it is an input."""
    (unit,) = find_units(Residual(branch()), rows())
    assert unit.explanation.fork == "an input of the network, or a parameter, 5 × 4"


class Attending(nn.Module):
    """A unit whose branch reads a value from before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.context, self.f = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        context = torch.tanh(self.context(x))
        x = self.stem(x)
        return x + self.f(x) * context


def test_side_inputs_and_shared_paths_are_explained() -> None:
    """What the branch reads beside x_l is counted; a gate that both paths share is named as shared."""
    (unit,) = find_units(Attending(), rows())
    assert unit.explanation.branch == "addmm, mul; 2 parameters; also reads 1 other value from before x_l"
    gated = build_model("resnet14", width=4, shortcut="gate:exclusive,-1")
    found = find_units(gated, cases.images(2, 3, 8, 8)())
    assert found[0].explanation.branch.endswith("shares operations with the shortcut")


def test_a_named_block_is_explained() -> None:
    """A block that was named has no addition, and the reason is that it was named."""
    found = find_units(build_model("plain20", width=4), cases.images(2, 3, 8, 8)(), units=r"stage1\.\d")
    why = found[0].explanation
    assert (why.addition, why.shortcut) == ("none", "none")
    assert why.branch == "all of the module; 6 parameters"
    assert why.why.startswith("it was named")


def test_a_frozen_branch_is_explained() -> None:
    """A branch without trained parameters is one for the weights that it passes."""
    model = nn.Sequential(nn.Linear(4, 4), Residual(branch().requires_grad_(False)))
    (unit,) = find_units(model, rows())
    assert unit.explanation.why.endswith("the other passes weights that are frozen")


class Summing(nn.Module):
    """Two branches, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = branch(), branch()

    def forward(self, x: Tensor) -> Tensor:
        return self.left(x) + self.right(x)


def test_what_is_passed_over_has_a_place() -> None:
    """An addition that is none has its line and shape."""
    found = find_units(nn.Sequential(Summing(), Chain()), rows())
    (over,) = found.passed_over
    assert (over.name, over.where, over.shape) == ("0", line_of(Summing.forward, "self.left(x) +"), (5, 4))


def test_an_error_about_no_unit_says_what_was_passed_over() -> None:
    """Where there is no unit the reasons are on the error."""
    with pytest.raises(NoResidualUnitError, match="1 addition") as refusal:
        find_units(Summing(), rows())
    (over,) = refusal.value.passed_over
    assert re.match("both operands are", over.reason)


class WithoutGraph(nn.Module):
    """A unit that runs without gradients, and another behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.unit, self.between, self.after = Residual(branch()), nn.Linear(4, 4), Residual(branch())

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.unit(x)
        return self.after(self.between(x))


def test_additions_without_gradients_are_said_to_be_that() -> None:
    """Under `no_grad` nothing can be measured, and the addition is not missed in silence."""
    found = find_units(seeded(WithoutGraph), rows())
    assert [unit.name for unit in found] == ["after"]
    (over,) = found.passed_over
    assert over.name == "unit"
    assert over.reason.startswith("it runs without gradients")


class Three(nn.Module):
    """x + F + G, both of a normalised x.

    Args:
        joined: whether F and G are added to each other first.
    """

    def __init__(self, *, joined: bool) -> None:
        super().__init__()
        self.joined = joined
        self.norm, self.f, self.g = nn.LayerNorm(4), branch(), branch()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return x + (self.f(y) + self.g(y)) if self.joined else x + self.f(y) + self.g(y)


@pytest.mark.parametrize(("joined", "parameters"), [(True, 10), (False, 6)])
def test_third_operands_are_said_to_be_that(joined: bool, parameters: int) -> None:
    """(x + F) + G is found as x + F, with the way out; x + (F + G) is one unit."""
    found = find_units(nn.Sequential(nn.Linear(4, 4), Three(joined=joined)), rows())
    assert [len(unit.branch_parameters) for unit in found] == [parameters]
    (over,) = found.passed_over
    assert ("written x + (F + G) it is one unit" in over.reason) is not joined


def test_explaining_changes_no_decision() -> None:
    """Units are equal from one call to the next, and each is explained."""
    once, again = (find_units(build_model("preact14", width=4), pictures(side=8)) for _ in range(2))
    assert list(once) == list(again)
    assert all(unit.explanation is not None for unit in once)
