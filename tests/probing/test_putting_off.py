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

from gradflow import Record, build_model, probe
from gradflow.probing.self_test import self_test
from gradflow.units.tracing import UnitTracer

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
    "what is no unit's": (6, lambda: Network(doubled)),
    "behind a cast": (0, lambda: Network(lambda x, fs: x.double().float() + fs[0](x))),
    "differences": (0, lambda: Network(lambda x, fs: x - fs[0](x))),
    "scaled": (0, lambda: Network(lambda x, fs: torch.add(x, fs[0](x), alpha=0.5))),
    "activated": (0, lambda: Network(lambda x, fs: torch.relu(x + fs[0](x)))),
    "checkpointed": (3, lambda: Network(packed)),
    "dropped": (7, lambda: Network(dropped)),
    "preact20": (6, lambda: build_model("preact20", seed=0)),
}
"""By name how many additions are put off, and the network."""


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
    """Numbers and words are those of additions that are told apart at once, to the bit where read alike."""
    found = measured(name)
    assert len(put_off) == NETWORKS[name][0]
    monkeypatch.setattr(UnitTracer, "puts_off", False)
    put_off.clear()
    expected = measured(name)
    assert not put_off
    if name == "what is no unit's":  # x_l is measured there as a sum, or else as a value that is used twice
        pd.testing.assert_frame_equal(found.units, expected.units, rtol=1e-7, atol=0)
    else:
        pd.testing.assert_frame_equal(found.units, expected.units, check_exact=True)
    assert sorted(map(str, found.meta["skipped"])) == sorted(map(str, expected.meta["skipped"]))


@pytest.mark.parametrize("name", NETWORKS)
def test_numbers_are_the_oracles(name: str) -> None:
    """The probe's numbers are those of an independent measurement, and no gradient is changed."""
    result = self_test(seeded(NETWORKS[name][1]), pictures(4, 8), labels(4))
    assert result.passed, result.lines


def test_what_it_was_is_known_of_each() -> None:
    """Names, dropped samples and what was passed over are those of where the addition stood."""
    assert measured("dropped").units["dropped_samples"].tolist() == [1, 0] * 4
    checkpointed = measured("checkpointed").units["dropped_samples"]
    assert checkpointed.iloc[::2].tolist() == [0] * 4
    assert checkpointed.iloc[1::2].isna().all()
    assert measured("what is no unit's").units["post_activation"].tolist() == [*["tanh+add"] * 3, "identity"]
    why = {entry["why"] for entry in measured("what is no unit's").meta["skipped"]}
    assert any("neither operand passes parameters" in one for one in why)


def test_a_fork_that_only_such_an_addition_has_read_is_measured() -> None:
    """x_l that an addition has made which is no unit's has a norm."""
    assert measured("what is no unit's").units["x_norm"].notna().all()
