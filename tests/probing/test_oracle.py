"""The probe against the oracle: hooks in one pass, or one differentiation for each number."""

from __future__ import annotations

import cases
import pandas as pd
import pytest
import torch
from agreement import both
from small_networks import Chain, LinearBranches, labels, pictures, rows, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradflow.equations.checking import cast
from gradflow.probing import oracle, probe
from gradflow.record.schema import QUANTILES


@cases.each(cases.SMALL)
def test_probe_agrees_with_the_oracle_in_float64(case: cases.Case) -> None:
    """Every column of every unit agrees to rounding, on every model of the table."""
    both(case.build().double(), cast(case.inputs(), torch.float64), case.targets())


@cases.each([*cases.ZOO, cases.RESNET18])
@pytest.mark.parametrize("bn", ["running", "frozen"])
def test_they_agree_in_every_mode_of_batch_normalisation(case: cases.Case, bn: str) -> None:
    """So they do with statistics from training, and with the batch's own held constant."""
    both(case.build().double(), cast(case.inputs(), torch.float64), case.targets(), bn=bn)


@cases.each([*cases.ZOO, cases.RESNET18, cases.GPT2])
def test_probe_agrees_with_the_oracle_in_float32(case: cases.Case) -> None:
    """In float32 the two agree to float32's rounding and the accuracy promised of norms."""
    both(case.build(), case.inputs(), case.targets())


def test_plain_blocks_agree() -> None:
    """So do blocks without shortcut, named outright."""
    model = cases.build_model("plain20", width=4).double()
    images = cases.images(3, 3, 8, 8)().double()
    both(model, images, labels(3, 10), units=r"stage\d\.\d")


WRITINGS = {
    "out of place": lambda x, f: x + f(x),
    "in place": lambda x, f: f(x).add_(x),
    "alpha on the branch": lambda x, f: torch.add(x, f(x), alpha=0.5),
    "alpha on the shortcut": lambda x, f: torch.add(f(x), x, alpha=0.5),
    "subtracted": lambda x, f: x - f(x),
    "subtracted in place, times a number": lambda x, f: x.clone().sub_(f(x), alpha=0.5),
    "summed": lambda x, f: sum([x, f(x)]),
    "gated": lambda x, f: torch.sigmoid(x) * x + f(x),
    "exclusively gated": lambda x, f: torch.sigmoid(x) * x + (1 - torch.sigmoid(x)) * f(x),
    "scaled": lambda x, f: 0.5 * x + 2 * f(x),
    "activated": lambda x, f: torch.relu_(x + f(x)),
    "checkpointed": lambda x, f: x + checkpoint(f, x, use_reentrant=False),
    "attention of x with itself": lambda x, f: x + f(x) * torch.softmax(x @ x.T @ f[0](x), -1),
}


@pytest.mark.parametrize("writing", WRITINGS, ids=str)
def test_writings_agree(writing: str) -> None:
    """The two agree however a unit is written."""
    model = seeded(lambda: Chain(WRITINGS[writing])).double()
    both(model, rows(dtype=torch.float64), labels())


def shared_gate(x: Tensor, f: nn.Module) -> Tensor:
    """Return (1 − g) x + g F(x), with the gate computed once: both paths use one edge into the fork."""
    g = torch.sigmoid(f[0](x))
    return (1 - g) * x + g * f(x)


def test_a_shared_gate_agrees() -> None:
    """Where both paths share nodes, each part is the VJP of that path alone, and the two add up."""
    model = seeded(lambda: Chain(shared_gate)).double()
    both(model, rows(dtype=torch.float64), labels())


class Tapped(Chain):
    """A network whose loss also sees every x_l."""

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.stem(x), 0.0
        for f in self.branches:
            total = total + x.square().mean()
            x = x + f(x)
        return self.head(x).square().mean() + total


class Shared(Chain):
    """Two units that start at one x."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left = x + self.branches[0](x)
        right = x + self.branches[1](x)
        return self.head(left * right).square().mean()


@pytest.mark.parametrize("kind", [Tapped, Shared])
def test_consumers_outside_the_unit_agree(kind: type[Chain]) -> None:
    """What reaches x_l from outside is what the oracle finds to be left over."""
    model = seeded(kind).double()
    both(model, rows(dtype=torch.float64), None, loss=lambda value: value)
    units = probe(model, rows(dtype=torch.float64), loss=lambda value: value).units
    assert (units["grad_other_norm"] > 0).all()


def test_a_fork_at_the_networks_input_agrees() -> None:
    """∂E/∂x_0 is read where x_0 is the network's own input."""
    model = LinearBranches(torch.randn(4, 4), torch.randn(4, 4)).double()
    both(model, rows(dtype=torch.float64), None, loss=lambda value: value.square().mean())


class Unused(Chain):
    """A network with a unit whose result nobody uses."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        used = x + self.branches[0](x)
        unused = used + self.branches[1](used)
        unused + self.branches[2](unused)
        return self.head(used)


def test_units_that_the_loss_does_not_reach_agree() -> None:
    """A unit that the loss does not depend on has null gradients by both ways, and the record says why."""
    model = seeded(Unused).double()
    record = probe(model, rows(dtype=torch.float64), labels())
    assert record.units["grad_in_norm"].isna().tolist() == [False, False, True]
    assert {"what": "gradients of unit 2 ()", "why": "the loss does not depend on it"} in record.meta[
        "skipped"
    ]
    both(model, rows(dtype=torch.float64), labels())


def test_nan_weights_agree() -> None:
    """On weights with a NaN both have the same nulls, and neither fails."""
    model = seeded(Chain).double()
    with torch.no_grad():
        model.branches[1][0].weight[0, 0] = float("nan")
    both(model, rows(dtype=torch.float64), labels())


class ChannelsFirstThenLast(nn.Module):
    """Units on images, then units on tokens or on channels last: the layout changes between two units.

    Args:
        tokens: whether the pixels become one dimension.
    """

    def __init__(self, *, tokens: bool) -> None:
        super().__init__()
        self.tokens = tokens
        self.stem = nn.Conv2d(3, 4, 1)
        self.convolutions = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
        self.linears = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.convolutions:
            x = x + torch.tanh(layer(x))
        x = x.flatten(2).transpose(1, 2) if self.tokens else x.permute(0, 2, 3, 1)
        for layer in self.linears:
            x = x + torch.tanh(layer(x))
        return x.square().mean()


@pytest.mark.parametrize("tokens", [True, False], ids=["tokens", "channels last"])
def test_a_change_of_layout_between_units_agrees(tokens: bool) -> None:
    """Where the next unit starts from a reshaped or permuted x, spans compare like with like or are null."""
    model = seeded(lambda: ChannelsFirstThenLast(tokens=tokens)).double()
    images = pictures(side=4, dtype=torch.float64)  # four channels too: no shape gives a mistake away
    units = probe(model, images, loss=lambda value: value).units
    if not pd.isna(units["span_end"][1]):  # a span of one unit is that unit
        for suffix in QUANTILES:
            for column in ("cancellation", "survival"):
                expected = pytest.approx(units[f"{column}_{suffix}"][1])
                assert units[f"span_{column}_{suffix}"][1] == expected
    both(model, images, None, loss=lambda value: value)


def test_a_chosen_unit_alone() -> None:
    """The oracle computes only the units that are asked for, with the same numbers."""
    model = seeded(lambda: Chain(units=5)).double()
    whole = oracle(model, rows(dtype=torch.float64), labels())
    part = oracle(model, rows(dtype=torch.float64), labels(), only=[1, 4])
    assert part["unit"].tolist() == [1, 4]
    for column in ("x_norm", "grad_in_norm", "grad_branch_norm", "cancellation_p50", "param_grad_norm"):
        assert part[column].tolist() == whole[column].iloc[[1, 4]].tolist()
    assert part["span_end"].tolist()[1] == 5
    assert part["span_end"].isna()[0]
