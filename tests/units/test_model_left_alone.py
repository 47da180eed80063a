"""`find_units` leaves everything as it was, also after an exception in the middle."""

from __future__ import annotations

import random

import cases
import numpy as np
import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, ConvolutionalChain, pictures, rows
from torch import Tensor, nn

from gradflow import build_model, find_units
from gradflow.units.graph import Port


class Stumbles(nn.Module):
    """Draws random numbers, then raises."""

    def forward(self, x: Tensor) -> Tensor:
        torch.rand(3)
        np.random.rand()  # noqa: NPY002 - the global state is what is watched
        random.random()
        raise ZeroDivisionError("in the middle")


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_as_it_was(training: bool) -> None:
    """Buffers, parameters, gradients, modes, hooks and random states are the same bits afterwards."""
    model = build_model("preact14", width=4, shortcut="dropout:0.5").train(training)
    model.stage2[0].train(not training)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.stage1[0].branch.register_forward_hook(lambda *_: None)
    before = Snapshot(model)
    find_units(model, cases.images(2, 3, 8, 8)())
    before.assert_unchanged()


def test_everything_is_as_it_was_after_an_exception() -> None:
    """An exception raised in the model's forward comes through, and leaves nothing behind."""
    model = ConvolutionalChain(units=2)
    model.branches[1].append(Stumbles())
    before = Snapshot(model)
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        find_units(model, pictures())
    before.assert_unchanged()


def test_buffers_that_forward_replaces_are_put_back() -> None:
    """``self.count = self.count + 1`` puts a new tensor in the buffer's place; it is undone too."""

    class Counting(Chain):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.register_buffer("hidden", torch.zeros(()), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.count = self.count + 1
            self.hidden += 1
            return super().forward(x)

    model = Counting()
    before = Snapshot(model)
    find_units(model, rows())
    before.assert_unchanged()


def test_no_graph_is_kept_alive() -> None:
    """What is returned holds names and numbers, no node of the graph and no tensor."""
    found = find_units(Chain(), rows())
    for unit in found:
        for value in vars(unit).values():
            assert not isinstance(value, (Port, Tensor))


def test_gradients_may_be_off_around_it() -> None:
    """Units are found under `torch.no_grad` too, which is as it was afterwards."""
    with torch.no_grad():
        assert len(find_units(Chain(), rows())) == 3
        assert not torch.is_grad_enabled()
