"""Additions to the last sum are told apart after the pass: nothing that is measured changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from small_networks import WIDTH, labels, pictures, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradflow import Record, Recorder, build_model, probe
from gradflow.errors import ProbeError
from gradflow.probing.self_test import self_test
from gradflow.units.tracing import UnitTracer


class Masked(nn.Module):
    """Units whose branches are dropped for some samples by one mask, which is written to for each.

    Args:
        step: from x, F, a projection and the mask to the sum.
    """

    def __init__(self, step: Callable[[Tensor, nn.Module, nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.step = step
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.branches = nn.ModuleList(branch() for _ in range(3))
        self.projections = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 1) for _ in range(3))
        self.register_buffer("mask", torch.ones(4, 1, 1, 1))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index, (f, projection) in enumerate(zip(self.branches, self.projections, strict=True)):
            self.mask.data[:] = 1
            self.mask.data[:index] = 0
            x = self.step(x, f, projection, self.mask)
        return self.head(x)


Step = Callable[[Tensor, nn.ModuleList], Tensor]


class Network(nn.Module):
    """A stem, four steps with two branches each, and a head.

    Args:
        step: from x_l and the branches to what the next one starts from.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.branches = nn.ModuleList(nn.ModuleList(branch() for _ in range(2)) for _ in range(4))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branches in self.branches:
            x = self.step(x, branches)
        return self.head(x)


def branch() -> nn.Module:
    """Return F."""
    return nn.Sequential(nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1))


def doubled(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Add to x what is no branch: nothing stands between the two that has a parameter."""
    x = x + torch.tanh(x)
    return x + fs[0](x)


def twice(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Make a unit, and add its sum to itself."""
    x = x + fs[0](x)
    return x + x


def rectified_twice(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Make a unit whose f is an addition and a ReLU."""
    return torch.relu(twice(x, fs))


def with_something_beside(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Make a unit with f = ReLU, whose sum is added to itself first, for nothing."""
    y = x + fs[0](x)
    torch.add(y, y)
    return torch.relu(y)


def into_a_view(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Make a unit, and add another branch into a view of its sum."""
    x = x + fs[0](x)
    other = fs[1](x)
    view = (2 * x).reshape_as(x).view(x.shape)
    view += other
    return x + fs[1](x)


def interpolated(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Make a unit, and combine its sum with another branch in a way that is not measured."""
    x = x + fs[0](x)
    return torch.lerp(x, fs[1](x), 0.5)


def of_something_else(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Add what is no branch, since it is not made from x."""
    other = fs[1](x.detach())
    return x + fs[0](x) + other


def with_a_constant(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Add x itself, which is no unit's, and a constant, which is passed over at once."""
    x = x + fs[0](x)
    x = x + fs[1](x.detach())
    return x + torch.ones_like(x)


def with_something_beside_a_sum(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Make a unit with f = +, whose sum is activated first, for nothing."""
    other = fs[1](x.detach())
    y = x + fs[0](x)
    torch.tanh(y)
    return y + other


def clamped(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Add a branch that is used, and then changed where no history is kept, before it is added."""
    f = fs[0](x)
    f.mean(), f.std()
    with torch.no_grad():
        f.clamp_(-0.1, 0.1)
    return x + f


class WithInnerGradient(nn.Module):
    """Units whose graph is used up by a gradient that the forward pass takes, and one more."""

    def __init__(self) -> None:
        super().__init__()
        self.masked = Masked(lambda x, f, p, mask: x + mask * f(x) + p(x))
        self.branch = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.masked(x).square().sum(), x)
        y = slope.mean((2, 3)).detach().requires_grad_()
        return y + self.branch(y)


def in_place(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Add x to F(x) in place, twice."""
    y = fs[0](x)
    y += x
    z = fs[1](y)
    z += y
    return z


def packed(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """One unit outside of a checkpoint, and one inside, whose branch may be dropped."""
    x = x + fs[0](x)
    mask = torch.tensor([0.0, 1, 1, 1]).reshape(-1, 1, 1, 1)
    return checkpoint(lambda value: value + mask * fs[1](value), x, use_reentrant=False)


def dropped(x: Tensor, fs: nn.ModuleList) -> Tensor:
    """Drop a branch for the first sample, and the next one for none."""
    mask = torch.tensor([0.0, 1, 1, 1]).reshape(-1, 1, 1, 1)
    x = x + mask * fs[0](x)
    return x + fs[1](x)


NETWORKS: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "units": (7, lambda: Network(lambda x, fs: (y := x + fs[0](x)) + fs[1](y))),
    "from the left": (7, lambda: Network(lambda x, fs: fs[1](y := x + fs[0](x)) + y)),
    "in place": (7, lambda: Network(in_place)),
    "three operands": (7, lambda: Network(lambda x, fs: x + fs[0](x) + fs[1](x))),
    "what is no unit's": (0, lambda: Network(doubled)),
    "behind a cast": (0, lambda: Network(lambda x, fs: x.double().float() + fs[0](x))),
    "differences": (0, lambda: Network(lambda x, fs: x - fs[0](x))),
    "scaled": (0, lambda: Network(lambda x, fs: torch.add(x, fs[0](x), alpha=0.5))),
    "activated": (0, lambda: Network(lambda x, fs: torch.relu(x + fs[0](x)))),
    "checkpointed": (0, lambda: Network(packed)),
    "twice": (0, lambda: Network(twice)),
    "rectified twice": (0, lambda: Network(rectified_twice)),
    "something beside": (0, lambda: Network(with_something_beside)),
    "into a view": (7, lambda: Network(into_a_view)),
    "interpolated": (0, lambda: Network(interpolated)),
    "of something else": (7, lambda: Network(of_something_else)),
    "a constant": (1, lambda: Network(with_a_constant)),
    "masks that change": (0, lambda: Masked(lambda x, f, _, mask: x + mask * f(x))),
    "masks that change, and a projection": (
        0,
        lambda: Masked(lambda x, f, p, mask: x + mask * f(x) + p(x)),
    ),
    "beside a sum": (7, lambda: Network(with_something_beside_a_sum)),
    "clamped": (3, lambda: Network(clamped)),
    "an inner gradient": (0, WithInnerGradient),
    "dropped": (0, lambda: Network(dropped)),
    "preact20": (6, lambda: build_model("preact20", seed=0)),
}
"""By name how many additions are put off, and the network."""

MEASURED_AS_SUMS = {"of something else", "three operands", "beside a sum"}
"""Where x_l is a sum that is no unit's: it is measured with its operands, or else alone."""


def measured(name: str) -> Record:
    """Return a probe of a network."""
    torch.manual_seed(0)
    return probe(seeded(NETWORKS[name][1]), pictures(4, 8), labels(4))


@pytest.fixture
def put_off(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is put off from now on."""
    found: list[Any] = []
    settle = UnitTracer.settle

    def settling(tracer: UnitTracer) -> None:
        found.extend(tracer._put_off)
        settle(tracer)

    monkeypatch.setattr(UnitTracer, "settle", settling)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_changes(name: str, put_off: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and words are those of additions that are told apart at once, bit for bit where read alike."""
    found = measured(name)
    assert len(put_off) == NETWORKS[name][0]
    monkeypatch.setattr(UnitTracer, "puts_off", False)
    put_off.clear()
    expected = measured(name)
    assert not put_off
    if name in MEASURED_AS_SUMS:
        pd.testing.assert_frame_equal(found.units, expected.units, rtol=1e-7, atol=0)
    else:
        pd.testing.assert_frame_equal(found.units, expected.units, check_exact=True)
    assert found.meta["skipped"] == expected.meta["skipped"]


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_are_the_oracles(name: str) -> None:
    """The probe's numbers are those of an independent measurement, and no gradient is changed."""
    result = self_test(seeded(NETWORKS[name][1]), pictures(4, 8), labels(4))
    assert result.passed, result.lines


def test_masks_are_read_in_time() -> None:
    """How many samples a branch was dropped for is what its mask said when it was added, not later."""
    assert measured("masks that change").units["dropped_samples"].tolist() == [0, 1, 2]
    projected = measured("masks that change, and a projection").units
    assert projected["shortcut"].tolist() == ["identity", "projection"] * 3
    assert projected["dropped_samples"].tolist() == [0, 0, 1, 1, 2, 2]
    assert measured("dropped").units["dropped_samples"].tolist() == [1, 0] * 4
    checkpointed = measured("checkpointed").units["dropped_samples"]
    assert checkpointed.iloc[::2].tolist() == [0] * 4
    assert checkpointed.iloc[1::2].isna().all()


def test_what_comes_after_the_last_unit_is_what_came_after_the_others() -> None:
    """An addition that is no unit's belongs to f, in the last unit too, but does not end it elsewhere."""
    assert measured("twice").units["post_activation"].tolist() == ["add"] * 4
    assert measured("of something else").units["post_activation"].tolist() == ["add"] * 4
    assert measured("beside a sum").units["post_activation"].tolist() == ["add"] * 4
    assert measured("rectified twice").units["post_activation"].tolist() == ["add+relu"] * 4
    assert set(measured("something beside").units["post_activation"]) == {"relu"}
    twice = measured("twice").units
    assert twice["out_norm"].tolist() == pytest.approx((2 * twice["sum_norm"]).tolist())


def test_nothing_is_put_off_where_only_some_modules_are_wanted(put_off: list[Any]) -> None:
    """Then an addition elsewhere is passed over, whatever it is."""
    found = probe(build_model("preact20", seed=0), pictures(4, 8), labels(4), units=r"stage1\.[02]")
    assert found.units["name"].tolist() == ["stage1.0", "stage1.2"]
    assert not put_off


def test_reentrant_checkpointing_is_refused_in_sums_with_the_last_unit() -> None:
    """A sum with what comes out of it is no unit's, and the network is refused all the same."""

    class CheckpointFunction(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(_: Any, gradient: Tensor) -> Tensor:
            return gradient

    model = seeded(lambda: Network(lambda x, fs: (y := x + fs[0](x)) + CheckpointFunction.apply(y)))
    with pytest.raises(ProbeError, match="reentrant"):
        probe(model, pictures(4, 8), labels(4))


def test_a_forward_pass_that_raises_leaves_nothing_to_settle(put_off: list[Any]) -> None:
    """The caller hears of the error that was raised, and nothing is told apart after it."""

    def raising(x: Tensor, fs: nn.ModuleList) -> Tensor:
        y = x + fs[0](x)
        if len(fs) and x.abs().max() > 0:
            y + fs[1](y)
            raise ZeroDivisionError("in the middle")
        return y

    model = seeded(lambda: Network(raising))
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        probe(model, pictures(4, 8), labels(4))
    with Recorder(model, every=1), pytest.raises(ZeroDivisionError, match="in the middle"):
        model(pictures(4, 8))
    assert not put_off
