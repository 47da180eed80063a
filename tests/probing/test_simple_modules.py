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


def hooking(x: Tensor, f: nn.Module) -> Tensor:
    """Return x + F(x), with a hook in F that comes in the middle of the pass, and adds."""
    hook = f[2].register_forward_hook(lambda _module, given, made: made + given[0])
    total = x + f(x)
    hook.remove()
    return total


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a pre-activation network of the zoo": lambda: build_model("preact14", width=4),
    "a post-activation network of the zoo": lambda: build_model("resnet14", width=4),
    "gated units": lambda: build_model("preact14", width=4, shortcut="gate:exclusive,-3"),
    "dropout": lambda: build_model("preact14", width=4, shortcut="dropout:0.5"),
    "units": lambda: seeded(lambda: Network(lambda x, f: x + f(x), layers)),
    "in place inside": lambda: seeded(lambda: Network(lambda x, f: x + f(x), lambda: layers(inplace=True))),
    "in place at once": lambda: seeded(lambda: Network(lambda x, f: 0.5 * x + f(x.clone()), rectified)),
    "in place on x_l": lambda: seeded(lambda: Network(lambda x, f: 0.5 * x + f(x), rectified)),
    "in place on x_l before it is used": lambda: seeded(
        lambda: Network(lambda x, f: f(x) + 0.5 * x, rectified)
    ),
    "the same sequence twice": lambda: seeded(lambda: Network(lambda x, f: x + f(f(x)), layers)),
    "activated after the addition, the last time in the head": lambda: seeded(
        lambda: Network(lambda x, f: (r := torch.relu(x)) + f(r), layers, nn.ReLU)
    ),
    "a hook that adds, from the first pass on": lambda: seeded(lambda: Network(hooking, layers)),
    "a hook that adds": lambda: seeded(lambda: Network(lambda x, f: x + f(x), hooked)),
}


def table(name: str, bn: str) -> pd.DataFrame:
    """Return what a probe shows of the units of a network, in which it leaves nothing behind."""
    model = NETWORKS[name]()
    found = probe(model, pictures(4, 8), labels(4), bn=bn).units
    assert not any("forward" in vars(module) for module in model.modules())
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("bn", ["batch", "frozen", "running"])
def test_they_change_nothing(name: str, bn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number has the bits that it has where every operation is seen."""
    found = table(name, bn)
    monkeypatch.setattr(traced, "leaves_as_one", lambda *_: nullcontext())
    pd.testing.assert_frame_equal(found, table(name, bn), check_exact=True)


@pytest.mark.parametrize("bn", ["batch", "frozen"])
def test_modules_have_their_own_forward_again(bn: str) -> None:
    """After a forward pass that raised, nothing stands in the place of a module's forward."""

    def raising(x: Tensor, f: nn.Module) -> Tensor:
        f(x)
        raise ZeroDivisionError("in the middle of the pass")

    model = Network(raising, layers)
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        probe(model, pictures(4, 8), labels(4), bn=bn)
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_sequence_runs_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracer is shown the stem, three sequences, and three modules of a head that holds an identity."""
    shown = []
    original = traced.UnitTracer.saw_module
    monkeypatch.setattr(
        traced.UnitTracer, "saw_module", lambda self, *args: (shown.append(1), original(self, *args))[1]
    )
    probe(NETWORKS["units"](), pictures(4, 8), labels(4))
    assert len(shown) == 1 + 3 + 3


def test_hooks_on_all_modules_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that adds what goes into a convolution to what comes out makes units of it, in a sequence, too."""

    def adds(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Tensor | None:
        return made + given[0] if isinstance(module, nn.Conv2d) and made.shape == given[0].shape else None

    hook = nn.modules.module.register_module_forward_hook(adds)
    try:
        found = table("units", "batch")
        monkeypatch.setattr(traced, "leaves_as_one", lambda *_: nullcontext())
        pd.testing.assert_frame_equal(found, table("units", "batch"), check_exact=True)
    finally:
        hook.remove()
    assert len(found) > 3
