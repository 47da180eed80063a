"""Compiled models and TorchScript: looked through where that can be, else refused by name."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from small_networks import Chain, Residual, branch, labels, rows, seeded
from torch import nn

from gradflow import find_units, probe
from gradflow.errors import ProbeError


def test_compiled_models_are_looked_through(monkeypatch) -> None:
    """The module under `torch.compile` is measured; the compiler never runs."""
    model = seeded(Chain)
    compiled = torch.compile(model)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the compiler ran")

    monkeypatch.setattr(type(compiled), "__call__", never)
    assert list(find_units(compiled, rows())) == list(find_units(model, rows()))
    pd.testing.assert_frame_equal(
        probe(compiled, rows(), labels()).units, probe(model, rows(), labels()).units
    )
    assert probe(compiled, rows(), labels()).meta["model"]["name"] == "Chain"


def test_models_compiled_in_part_or_in_place_are_refused() -> None:
    """A compiled part would hide its units in silence, so it is refused by name."""
    model = nn.Sequential(nn.Linear(4, 4), Residual(branch()))
    model[1].compile()
    with pytest.raises(ProbeError, match=r"^1 is compiled.*probe before torch.compile"):
        probe(model, rows(), loss=torch.sum)
    model = nn.Sequential(nn.Linear(4, 4), torch.compile(Residual(branch())))
    with pytest.raises(ProbeError, match=r"^1 is compiled"):
        probe(model, rows(), loss=torch.sum)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_is_refused() -> None:
    """No function mode sees inside TorchScript, so it is refused, naming what to give instead."""
    traced = torch.jit.trace(Residual(branch()), rows())
    with pytest.raises(ProbeError, match=r"TorchScript.*give the module it came from"):
        probe(traced, rows(), loss=torch.sum)
    with pytest.raises(ProbeError, match=r"^0 is TorchScript"):
        probe(nn.Sequential(traced), rows(), loss=torch.sum)
