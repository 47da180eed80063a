"""A measurement leaves model and process bit for bit as they were, also after an exception."""

from __future__ import annotations

import gc
import weakref

import cases
import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, ConvolutionalChain, labels, noting, pictures, rows
from torch import Tensor, nn

from gradflow import build_model, check, probe
from gradflow.errors import ProbeError
from gradflow.probing import oracle, self_test
from gradflow.probing.module_hooks import probe_modules

MEASUREMENTS = {
    "probe": probe,
    "oracle": oracle,
    "self_test": self_test,
    "check": check,
    "probe_modules": probe_modules,
}


def prepared(model: nn.Module) -> nn.Module:
    """Return `model` with gradients, a mixture of modes, hooks, and buffers of its own."""
    for index, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, float(index))
        parameter.register_hook(lambda gradient: gradient)
    next(iter(model.children())).eval()
    model.register_forward_hook(lambda *_: None)
    model.register_forward_pre_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("measurement", MEASUREMENTS)
@pytest.mark.parametrize("bn", ["batch", "running", "frozen"])
def test_everything_is_as_it_was(measurement: str, bn: str) -> None:
    """Parameters, buffers, gradients, modes, hooks, random states and the collector's switch."""
    model = prepared(build_model("preact14", width=4, shortcut="dropout:0.5"))
    before = Snapshot(model)
    MEASUREMENTS[measurement](model, cases.images(2, 3, 8, 8)(), torch.tensor([1, 2]), bn=bn)
    before.assert_unchanged()


class RaisesBackward(torch.autograd.Function):
    """The identity forward, an exception backward."""

    @staticmethod
    def forward(_, x: Tensor) -> Tensor:
        """Return x, after drawing a random number."""
        torch.rand(1)
        return x * 1

    @staticmethod
    def backward(_, *_gradients: Tensor) -> Tensor:
        """Draw a random number and raise."""
        torch.rand(1)
        raise ZeroDivisionError("in the middle of the backward pass")


class Trap(nn.Module):
    """Raises in one of the two passes."""

    def __init__(self, *, backward: bool) -> None:
        super().__init__()
        self.backward = backward

    def forward(self, x: Tensor) -> Tensor:
        if self.backward:
            return RaisesBackward.apply(x)
        torch.rand(1)
        raise ZeroDivisionError("in the middle of the forward pass")


@pytest.mark.parametrize("measurement", ["probe", "oracle", "self_test", "check"])
@pytest.mark.parametrize("bn", ["batch", "frozen"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_everything_is_as_it_was_after_an_exception(measurement: str, bn: str, backward: bool) -> None:
    """An exception in the middle of either pass comes through as it is, and leaves no trace."""
    model = ConvolutionalChain(units=3)
    model.branches[1].append(Trap(backward=backward))
    prepared(model)
    before = Snapshot(model)
    with pytest.raises(ZeroDivisionError, match=r"in the middle of the (forward|backward) pass"):
        MEASUREMENTS[measurement](model, pictures(), labels(2), bn=bn)
    before.assert_unchanged()


def test_everything_is_as_it_was_after_a_refusal() -> None:
    """So does an error of our own, after the forward pass has run."""
    model = prepared(ConvolutionalChain())
    before = Snapshot(model)
    with pytest.raises(ProbeError, match="there is nothing to differentiate"):
        probe(model, pictures())
    before.assert_unchanged()


def test_the_model_can_be_trained_afterwards_as_before() -> None:
    """A step of training after a probe, and after a failed one, is the step that it would have been."""

    def step(model: nn.Module) -> list[Tensor]:
        nn.functional.cross_entropy(model(pictures()), labels(2)).backward()
        return [parameter.grad for parameter in model.parameters()]

    torch.manual_seed(0)
    model = ConvolutionalChain()
    expected = [gradient.clone() for gradient in step(model)]
    model.zero_grad()
    probe(model, pictures(), labels(2))
    with pytest.raises(ProbeError):  # noqa: PT011 - which error is another test's matter
        probe(model, pictures())
    assert all(torch.equal(now, then) for now, then in zip(step(model), expected, strict=True))


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_it_was(enabled: bool) -> None:
    """The collector is off during a probe, and afterwards what it was, also after an exception."""
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        probe(Chain(), rows(), labels())
        assert gc.isenabled() is enabled
        with pytest.raises(ProbeError, match="nothing to differentiate"):
            probe(Chain(), rows())
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_no_graph_is_kept_alive() -> None:
    """When the record is there, nothing of the two passes is left: no value, no gradient, no graph."""
    kept: list[weakref.ref[Tensor]] = []

    record = probe(Chain(noting(kept)), rows(), labels())
    gc.collect()
    assert len(kept) == 3
    assert [value() for value in kept] == [None] * 3
    assert len(record.units) == 3


def test_buffers_that_forward_replaces_are_put_back() -> None:
    """``self.count = self.count + 1`` puts a new tensor in the buffer's place; it is undone too."""

    class Counting(Chain):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.count = self.count + 1
            return super().forward(x)

    model = Counting()
    before = Snapshot(model)
    probe(model, rows(), labels())
    before.assert_unchanged()


def test_gradients_of_the_users_own_inputs_are_not_touched() -> None:
    """An input that needs a gradient, and has one, keeps it."""
    x = rows().requires_grad_()
    x.grad = torch.ones_like(x)
    probe(Chain(), x, labels())
    assert torch.equal(x.grad, torch.ones_like(x))
    assert x.requires_grad
