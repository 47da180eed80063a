"""Code that no function mode sees: TorchScript functions are named, reentrant checkpointing is refused."""

from __future__ import annotations

import pytest
import torch
from small_networks import Chain, Residual, branch, labels, rows, seeded
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import CheckpointFunction, checkpoint

from gradflow import Recorder, find_units, probe
from gradflow.errors import GradflowError, ProbeError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
]


def scripted(function):
    """Return a TorchScript function."""
    return torch.jit.script(function)


def added(a: Tensor, b: Tensor) -> Tensor:
    """Add two tensors."""
    return a + b


def gelu(a: Tensor) -> Tensor:
    """Add numbers to tensors, and no tensor."""
    return 0.5 * a * (1 + torch.tanh(0.8 * a))


def test_scripted_additions_are_named() -> None:
    """Units whose addition is a TorchScript function are passed over, with its name; others are found."""
    add = scripted(added)
    mixed = nn.Sequential(Chain(lambda x, f: add(x, f(x)), units=2), nn.Linear(3, 4), Chain(units=2))
    found = find_units(mixed, rows())
    assert len(found) == 2
    assert [over.name for over in found.passed_over] == ["0"] * 2
    assert all(over.reason.startswith("the TorchScript function added adds") for over in found.passed_over)
    assert all(over.where.startswith(f"{__name__}:") for over in found.passed_over)


def test_scripted_functions_that_add_no_tensors_are_not_named() -> None:
    """A scripted activation hides no addition of two tensors."""
    activation = scripted(gelu)
    assert find_units(Chain(lambda x, f: x + activation(f(x))), rows()).passed_over == []


def test_torch_is_left_as_it_was() -> None:
    """After a measurement TorchScript functions and checkpointing run as before, also after an exception."""
    add, call = scripted(added), torch.jit.ScriptFunction.__call__
    find_units(Chain(lambda x, f: x + add(f(x), f(x))), rows())
    with pytest.raises(ProbeError, match="use_reentrant=False"):
        find_units(Returned(), rows())
    assert torch.jit.ScriptFunction.__call__ is call
    assert "apply" not in vars(CheckpointFunction)
    assert torch.equal(add(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))
    Returned()(rows().requires_grad_()).sum().backward()


class Returned(nn.Module):
    """Three units, two of them inside reentrant checkpointing, whose output is the network's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Residual(branch())
        self.rest = nn.Sequential(Residual(branch()), Residual(branch()), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = checkpoint(self.rest, self.first(x), use_reentrant=True)
        return out


class Packed(Returned):
    """The same, in a dict and a tuple."""

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, ...]]:
        return {"logits": (super().forward(x),)}


class Unused(Returned):
    """A checkpointed part of which the network hands on nothing."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        return self.rest[2](self.first(x))


def loss(outputs: object, targets: Tensor) -> Tensor:
    """Return the cross-entropy of a tensor, however it is packed."""
    return cross_entropy(outputs["logits"][0] if isinstance(outputs, dict) else outputs, targets)


@pytest.mark.parametrize("build", [Returned, Packed, Unused])
def test_reentrant_checkpointing_is_refused_in_every_position(build: type[nn.Module]) -> None:
    """By `find_units`, `probe` and `Recorder`: as the network's output, in it, or as nothing of either."""
    model = seeded(build)
    with pytest.raises(GradflowError, match="use_reentrant=False"):
        find_units(model, rows())
    with pytest.raises(GradflowError, match="use_reentrant=False"):
        probe(model, rows(), labels(), loss=loss)
    with pytest.raises(GradflowError, match="use_reentrant=False"), Recorder(model, every=1):
        model(rows())


class WithoutGradients(Returned):
    """A frozen part that is checkpointed where no gradient flows: nothing that is measured is in it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            super().forward(x)
        return self.rest(self.first(x))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
def test_checkpointing_without_gradients_is_nobodys_business() -> None:
    """Reentrant checkpointing under `no_grad` hides no gradient."""
    assert len(find_units(WithoutGradients(), rows())) == 3
