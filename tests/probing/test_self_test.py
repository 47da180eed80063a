"""The self-test passes where the probe tells the truth, and fails where it does not."""

from __future__ import annotations

import importlib
from dataclasses import replace

import cases
import pytest
import torch
from small_networks import Chain, ConvolutionalChain, labels, pictures, rows, seeded
from torch import Tensor, nn

from gradflow.probing import backward, parts, self_test
from gradflow.probing.pairs import Pair, Squares, SummedPair, SummedSquares


@cases.each([*cases.ZOO, cases.RESNET18, cases.GPT2])
def test_it_passes(case: cases.Case) -> None:
    """On the table's networks every part of it passes."""
    result = self_test(case.build(), case.inputs(), case.targets())
    assert result.passed, "\n".join(result.lines)
    assert len(result.lines) == 4
    assert all(line.startswith("passed  ") for line in result.lines)


@pytest.mark.parametrize("bn", ["batch", "running", "frozen"])
def test_it_passes_in_every_mode(bn: str) -> None:
    """So it does in each mode of batch normalisation, with dropout and named blocks."""
    model = cases.build_model("resnet14", width=4, shortcut="dropout:0.5")
    assert self_test(model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), bn=bn).passed
    plain = cases.build_model("plain20", width=4)
    named = self_test(plain, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), bn=bn, units=r"stage\d\.\d")
    assert named.passed, "\n".join(named.lines)


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, f: torch.add(x, f(x), alpha=0.5),
        lambda x, f: f(x).add_(x),
        lambda x, f: torch.sigmoid(x) * x + f(x),
    ],
    ids=["alpha", "in place", "gated"],
)
def test_it_passes_however_a_unit_is_written(combine) -> None:
    """It tells nobody that the probe is wrong who only writes his units in another way."""
    result = self_test(seeded(lambda: Chain(combine)), rows(), labels())
    assert result.passed, "\n".join(result.lines)


def test_it_passes_on_weights_with_nan() -> None:
    """A diverged network is compared too: NaN against NaN."""
    model = seeded(Chain)
    with torch.no_grad():
        model.branches[1][0].weight[0, 0] = float("nan")
    assert self_test(model, rows(), labels()).passed


def failed_lines(model: nn.Module, inputs: Tensor, targets: Tensor) -> list[str]:
    """Return what a self-test that fails complains about."""
    result = self_test(model, inputs, targets)
    assert not result.passed
    return [line for line in result.lines if line.startswith("FAILED")]


def test_it_fails_if_norms_are_off_by_a_thousandth(monkeypatch) -> None:
    """A negative control: all sums of squares 2 ‰ too large, so that norms are off by 1 ‰."""
    read, read_squares = SummedPair.read, SummedSquares.read

    def larger(found: Squares) -> Squares:
        return replace(found, per_sample=found.per_sample * 1.002)

    def pair_off(self: SummedPair) -> Pair:
        pair = read(self)
        return replace(pair, first=larger(pair.first), second=larger(pair.second), total=larger(pair.total))

    monkeypatch.setattr(SummedSquares, "read", lambda self: larger(read_squares(self)))
    monkeypatch.setattr(SummedPair, "read", pair_off)
    (line,) = failed_lines(seeded(Chain), rows(), labels())
    assert "agree with torch.autograd.grad" in line
    assert "1.0e-03" in line


@pytest.mark.parametrize("part", ["shortcut", "branch"])
def test_it_fails_if_a_part_is_lost(monkeypatch, part: str) -> None:
    """A negative control: one of the two parts is not handed on."""
    hand = backward.BackwardMeasures.parts

    def lossy(self, place, found) -> Tensor | None:
        return hand(self, place, replace(found, **{part: None}))

    monkeypatch.setattr(backward.BackwardMeasures, "parts", lossy)
    (line,) = failed_lines(seeded(Chain), rows(), labels())
    assert "agree with torch.autograd.grad" in line


def test_it_fails_if_the_parts_are_exchanged(monkeypatch) -> None:
    """A negative control: the shortcut's part is taken for the branch's."""
    roles = parts._roles
    other = {"shortcut": "branch", "branch": "shortcut"}
    monkeypatch.setattr(
        parts, "_roles", lambda unit: {edge: other[role] for edge, role in roles(unit).items()}
    )
    assert failed_lines(seeded(Chain), rows(), labels())


def test_it_fails_if_a_hook_alters_a_gradient(monkeypatch) -> None:
    """A negative control: a reader that changes what it reads changes the parameters' gradients."""
    arrived = backward.BackwardMeasures.arrived

    def meddling(self, port: int, gradient: Tensor) -> None:
        arrived(self, port, gradient)
        gradient.mul_(1.001)

    monkeypatch.setattr(backward.BackwardMeasures, "arrived", meddling)
    lines = failed_lines(seeded(Chain), rows(), labels())
    assert any("bit for bit" in line and "gradients differ" in line for line in lines)


def test_it_fails_if_the_model_is_left_changed(monkeypatch) -> None:
    """A negative control: a probe that writes into the model is found out, and where."""
    module = importlib.import_module("gradflow.probing.self_test")  # the package's name is the function's
    run = module.run_passes

    def careless(model: nn.Module, *rest, **options):
        passes = run(model, *rest, **options)
        next(model.buffers()).add_(1)
        return passes

    monkeypatch.setattr(module, "run_passes", careless)
    lines = failed_lines(seeded(ConvolutionalChain), pictures(), labels(2))
    assert any("buffers of branches.0.0.running_mean changed" in line for line in lines)


class Noisy(Chain):
    """Adds noise from a generator of its own, which no seed of the process governs."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.randn(x.shape, generator=self.generator))


def test_a_model_that_differs_from_run_to_run_is_reported_as_such() -> None:
    """It says that the model itself does not repeat, and does not blame the hooks for it."""
    result = self_test(seeded(Noisy), rows(), labels())
    assert result.lines[0].startswith("FAILED  two passes without hooks agree bit for bit")
    assert "not decided" in result.lines[1]
    assert "the model itself differs from run to run" in result.lines[1]
    assert not result.lines[1].startswith("FAILED")
