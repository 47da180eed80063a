"""`find_units` leaves everything as it was, also after an exception in the middle."""

from __future__ import annotations

import random
from typing import Any

import cases
import numpy as np
import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, ConvolutionalChain, pictures, rows
from torch import Tensor, nn

from gradflow import build_model, find_units
from gradflow.units.graph import Port
from gradflow.units.state import preserved_model


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


@torch.inference_mode()
def in_inference_mode() -> Tensor:
    """Return a tensor that nobody counts the versions of."""
    return torch.ones(3)


class Unlisted(Tensor):
    """A tensor whose class does not know torch's functions of many tensors at once."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "").startswith("_foreach"):
            raise TypeError(f"{func.__name__} is not for this class")
        return super().__torch_function__(func, types, args, kwargs)


BUFFERS = {
    "a vector": lambda: torch.randn(3),
    "a part of one": lambda: torch.randn(6)[::2],
    "a number": lambda: torch.tensor(2),
    "a truth": lambda: torch.tensor([True, False]),
    "half precision": lambda: torch.randn(2, 3).bfloat16(),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "conjugate": lambda: torch.randn(3, dtype=torch.complex64).conj(),
    "conjugate, and many": lambda: torch.randn(70, 70, dtype=torch.complex64).conj(),
    "negated": lambda: torch.randn(3, dtype=torch.complex64).conj().imag,
    "of a class of its own": lambda: torch.randn(3).as_subclass(Unlisted),
    "many numbers": lambda: torch.randn(70, 70),
    "no number, and a negative zero": lambda: torch.tensor([float("nan"), -0.0]),
    "no element": lambda: torch.zeros(0),
    "with a gradient": lambda: torch.randn(3, requires_grad=True),
    "made in inference mode": in_inference_mode,
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse by rows": lambda: torch.eye(3).to_sparse_csr(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
}


def bits(value: Tensor) -> list[int]:
    """Return the bytes of a tensor's numbers."""
    value = value.dequantize() if value.is_quantized else value.to_dense().resolve_conj().resolve_neg()
    return value.contiguous().reshape(-1).view(torch.uint8).tolist()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support", "ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", BUFFERS)
def test_buffers_of_every_kind_are_put_back(kind: str) -> None:
    """Also where they were written to behind autograd's back; two of one form are not mixed up."""
    model = Chain()
    model.register_buffer("first", BUFFERS[kind]())
    model.register_buffer("second", BUFFERS[kind]())
    before = [buffer.detach().clone() for buffer in (model.first, model.second)]
    with preserved_model(model):
        for buffer in (model.first, model.second):
            if buffer.layout is torch.strided and not buffer.is_quantized:
                with torch.inference_mode():
                    buffer.data.copy_(torch.zeros_like(buffer))
    after = [buffer.detach() for buffer in (model.first, model.second)]
    for now, then in zip(after, before, strict=True):
        assert bits(now) == bits(then)


def test_buffers_that_grow_keep_none_of_the_others_from_being_put_back() -> None:
    """A cache that forward makes longer, in either way, and a counter beside it, of the same form before."""

    class Growing(Chain):
        def __init__(self) -> None:
            super().__init__()
            for name in ("resized", "replaced", "count"):
                self.register_buffer(name, torch.zeros(4))

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            self.resized.resize_(9)
            self.replaced.data = torch.ones(9)
            return super().forward(x)

    model = Growing()
    assert len(find_units(model, rows())) == 3
    assert model.count.tolist() == [0] * 4
