"""Where numbers stop being finite: one sentence with one first place, that in which the network is broken."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded
from torch import Tensor, nn

import gradflow
from gradflow.findings import Limit, findings, locate_nonfinite
from gradflow.findings.violations import find_violations
from gradflow.record import Record
from gradflow.testing import assert_gradient_flow

COUNTED = "elements were NaN or infinite"


class BackwardNaN(torch.autograd.Function):
    """The identity, whose gradient is NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - as above
        return gradient * float("nan")


class Spoilt(nn.Module):
    """Passes on its input, with an infinity forward or a NaN backward.

    Args:
        backward: which.
    """

    def __init__(self, *, backward: bool) -> None:
        super().__init__()
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        return BackwardNaN.apply(x) if self.backward else x * float("inf")


class Staged(Chain):
    """A chain of four units of which any place can be spoilt.

    Args:
        place: where: stem, shortcut, branch, sum, between, out, head or none.
        backward: as for `Spoilt`.
    """

    def __init__(self, place: str, *, backward: bool) -> None:
        super().__init__(units=4)
        self.place = place
        self.spoilt = Spoilt(backward=backward)

    def at(self, place: str, x: Tensor) -> Tensor:
        if (
            place == self.place == "shortcut" and self.spoilt.backward
        ):  # a function is none that a shortcut has
            x.register_hook(lambda gradient: gradient * float("nan"))
            return x
        return self.spoilt(x) if place == self.place else x

    def forward(self, x: Tensor) -> Tensor:
        x = self.at("stem", self.stem(x))
        for index, f in enumerate(self.branches):
            h, branch = x, f(x)
            if index == 2:
                h, branch = self.at("shortcut", 2.0 * h), self.at("branch", branch)
            x = h + branch
            if index == 1:
                x = self.at("between", x)
        return self.head(self.at("out", x))


PLACES = {
    "stem": ("before unit 0 (), the first: in the input or in what comes before the units", None),
    "branch": ("in unit 2 (), in its branch", "in unit 2 (), in its branch"),
    "shortcut": ("in unit 2 (), on its shortcut", "in unit 2 (), on its shortcut"),
    "between": (
        "between the addition of unit 1 () and unit 2 () (mul)",
        "between the addition of unit 1 () and unit 2 () (backward_na_n)",
    ),
    "out": (
        "behind the last unit, unit 3 (): in the head or the loss",
        "behind the last unit, unit 3 (): in the head or the loss",
    ),
}


def probed(model: nn.Module, inputs: Tensor | None = None) -> Record:
    """Return a probe of `model`."""
    return gradflow.probe(model, rows() if inputs is None else inputs, labels())


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("place", PLACES)
def test_the_place_is_named(place: str, backward: bool) -> None:
    """Every place of the network, in both passes; the sentence has no second one."""
    record = probed(seeded(lambda: Staged(place, backward=backward)))
    expected = PLACES[place][backward]
    (sentence,) = (one for one in findings(record) if "NaN or infinite" in one)
    if expected is None:  # below the units nothing of them is spoilt, only what the stem's parameters get
        assert "none in a unit: the gradient of the parameter stem.weight is the first" in sentence
        return
    assert f"going {'backward' if backward else 'forward'}, it began {expected}" in locate_nonfinite(record)
    assert locate_nonfinite(record) in sentence
    assert sentence.count(" began ") == 1
    assert "first in unit" not in sentence


def test_a_healthy_network_has_no_such_place() -> None:
    """Without a spoilt place there is no sentence."""
    assert not any("finite" in one or COUNTED in one for one in findings(probed(seeded(Chain))))
    assert not any(COUNTED in one for one in findings(probed(seeded(lambda: Staged("none", backward=False)))))


def test_inputs_that_are_not_finite() -> None:
    """One NaN in the input is before unit 0, and not in it."""
    inputs = rows()
    inputs[0, 0] = float("nan")
    assert "it began before unit 0 ()" in locate_nonfinite(probed(seeded(Chain), inputs))


def test_a_sum_that_overflows() -> None:
    """Both operands are finite and their sum is not."""
    record = gradflow.probe(LinearBranches(torch.eye(4)), torch.full((5, 4), 2e38), loss=torch.sum)
    assert "going forward, it began in unit 0 (), in the sum of shortcut and branch" in locate_nonfinite(
        record
    )


def test_a_gradient_that_a_hook_spoils() -> None:
    """Parts are finite and what arrives at x is not: the place is x itself."""

    def combined(x: Tensor, f: nn.Module) -> Tensor:
        x.register_hook(lambda gradient: gradient * float("nan"))
        return x + f(x)

    assert "going backward, it began at x of unit 2 ()" in locate_nonfinite(
        probed(seeded(lambda: Chain(combined)))
    )


def test_an_activation_behind_the_addition() -> None:
    """What stands there is named, in between two units and behind the last one."""

    def combined(x: Tensor, f: nn.Module) -> Tensor:
        return torch.log(-torch.abs(x + f(x)))

    assert "between the addition of unit 0 () and unit 1 () (abs+neg+log)" in locate_nonfinite(
        probed(seeded(lambda: Chain(combined)))
    )


class SpoiltHead(nn.Module):
    """A head to whose output something is added that is NaN, or 0 with a gradient of NaN.

    Args:
        head: the head.
        backward: which.
    """

    def __init__(self, head: nn.Module, *, backward: bool) -> None:
        super().__init__()
        self.head = head
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        output = self.head(x)
        return output + (torch.sqrt(output * 0) if self.backward else torch.log(output * 0 - 1))


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_head_is_not_the_last_unit(way: str) -> None:
    """NaN made in the head, by its values or only by their gradients, is not the units'."""
    model = seeded(Chain)
    model.head = SpoiltHead(model.head, backward=way == "backward")
    said = locate_nonfinite(probed(model))
    assert said == f"going {way}, it began behind the last unit, unit 2 (): in the head or the loss"


def test_a_loss_that_is_not_finite_alone() -> None:
    """An infinite loss with a gradient of 0 leaves every unit finite, and is said all the same."""
    model = seeded(Chain)
    record = gradflow.probe(
        model, rows(), loss=lambda outputs: (outputs.sum() * 0).clamp(min=0) + float("inf")
    )
    assert findings(record)[-1] == (
        "The loss is not finite: going forward, it began behind the last unit, unit 2 (): in the head or the "
        "loss."
    )


def test_weights_that_are_not_finite() -> None:
    """A parameter that is not finite is what is named, before what it does to the units."""
    model = seeded(Chain)
    with torch.no_grad():
        model.branches[1][0].weight[0, 0] = float("inf")
        model.head.bias[0] = float("nan")
    assert "the parameter branches.1.0.weight (and 1 more) is not finite" in "\n".join(
        findings(probed(model))
    )


def test_the_gate_says_where_it_began() -> None:
    """The unit with most such elements is named, and the first place beside it."""
    model = seeded(lambda: Staged("between", backward=False))
    (violation,) = find_violations(probed(model), [Limit("nonfinite", ">", 0)])
    assert str(violation).endswith(
        "; going forward, it began between the addition of unit 1 () and unit 2 () (mul)"
    )
    with pytest.raises(AssertionError, match="it began behind the last unit"):
        assert_gradient_flow(seeded(lambda: Staged("out", backward=True)), rows(), labels())
    assert_gradient_flow(seeded(Chain), rows(), labels())
