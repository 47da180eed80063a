"""torch's simple modules, and sequences of them, run unseen from inside: nothing that is measured changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pandas as pd
import pytest
import torch
from small_networks import WIDTH, labels, pictures, seeded
from torch import Tensor, nn

from gradflow import build_model, probe
from gradflow.probing import traced


class Network(nn.Module):
    """A stem, units of one form, and a head.

    Args:
        unit: from x and F to the unit's output.
        branch: makes F.
        head: makes what comes after the last unit.
    """

    def __init__(
        self,
        unit: Callable[[Tensor, nn.Module], Tensor],
        branch: Callable[[], nn.Module],
        head: Callable[[], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        self.unit = unit
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.branches = nn.ModuleList(branch() for _ in range(3))
        self.head = nn.Sequential(head(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for branch in self.branches:
            x = self.unit(x, branch)
        return self.head(x)


def layers(*, inplace: bool = False) -> nn.Module:
    """Return an activation and a convolution, in sequence."""
    return nn.Sequential(
        nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=inplace), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
    )


def rectified() -> nn.Module:
    """Return a sequence whose first module changes what it is given."""
    return nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(WIDTH, WIDTH, 3, padding=1))


def hooked() -> nn.Module:
    """Return a sequence inside which somebody's hook adds what went in: a unit of its own."""
    made = layers()
    made[2].register_forward_hook(lambda _module, given, made: made + given[0])
    return made


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a pre-activation network of the zoo": lambda: build_model("preact14", width=4),
    "a post-activation network of the zoo": lambda: build_model("resnet14", width=4),
    "gated units": lambda: build_model("preact14", width=4, shortcut="gate:exclusive,-3"),
    "dropout": lambda: build_model("preact14", width=4, shortcut="dropout:0.5"),
    "units": lambda: seeded(lambda: Network(lambda x, f: x + f(x), layers)),
    "in place inside": lambda: seeded(lambda: Network(lambda x, f: x + f(x), lambda: layers(inplace=True))),
    "in place at once": lambda: seeded(lambda: Network(lambda x, f: 0.5 * x + f(x.clone()), rectified)),
    "in place on x_l": lambda: seeded(lambda: Network(lambda x, f: 0.5 * x + f(x), rectified)),
    "the same sequence twice": lambda: seeded(lambda: Network(lambda x, f: x + f(f(x)), layers)),
    "activated after the addition, the last time in the head": lambda: seeded(
        lambda: Network(lambda x, f: (r := torch.relu(x)) + f(r), layers, nn.ReLU)
    ),
    "a hook that adds": lambda: seeded(lambda: Network(lambda x, f: x + f(x), hooked)),
}


def table(name: str, bn: str) -> pd.DataFrame:
    """Return what a probe shows of the units of a network."""
    return probe(NETWORKS[name](), pictures(4, 8), labels(4), bn=bn).units


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bn", ["batch", "frozen", "running"])
def test_they_change_nothing(name: str, bn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number has the bits that it has where every operation is seen."""
    found = table(name, bn)
    assert not any("forward" in vars(module) for module in NETWORKS[name]().modules())
    monkeypatch.setattr(traced, "leaves_as_one", lambda *_: nullcontext())
    pd.testing.assert_frame_equal(found, table(name, bn), check_exact=True)


@pytest.mark.parametrize("bn", ["batch", "frozen"])
def test_modules_have_their_own_forward_again(bn: str) -> None:
    """After a probe, and after one that failed, nothing stands in the place of a module's forward."""
    model = NETWORKS["units"]()
    probe(model, pictures(4, 8), labels(4), bn=bn)
    with pytest.raises(ZeroDivisionError, match="division"):
        probe(model, pictures(4, 8), loss=lambda _: 1 / 0, bn=bn)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_sequence_runs_as_one() -> None:
    """The function mode, which costs more than many operations do, sees nothing of what is in it."""
    seen: list[str] = []
    original = traced.UnitTracer.__torch_function__

    def noting(self, func, types, args=(), kwargs=None):
        seen.append(getattr(func, "__name__", ""))
        return original(self, func, types, args, kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traced.UnitTracer, "__torch_function__", noting)
        probe(NETWORKS["units"](), pictures(4, 8), labels(4))
    assert "conv2d" not in seen
    assert "batch_norm" not in seen
