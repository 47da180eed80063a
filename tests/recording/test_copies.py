"""Copies of a network that somebody makes while a recorder watches it."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import gradflow
from gradflow.probing.uncopied import UncopiedHook


class Picklable(Chain):
    """The chain without a lambda of its own."""

    def __init__(self) -> None:
        super().__init__(_add)


def _add(x: torch.Tensor, f: nn.Module) -> torch.Tensor:
    return x + f(x)


def _saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def _averaged(model: nn.Module) -> nn.Module:
    inner: nn.Module = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9)).module
    return inner


COPIES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "deepcopy": copy.deepcopy,
    "within another": lambda model: copy.deepcopy(nn.ModuleList([model]))[0],
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "pickle, protocol 2": lambda model: pickle.loads(pickle.dumps(model, 2)),
    "pickle in Python": lambda model: pickle._loads(pickle._dumps(model)),
    "torch.save": _saved,
    "AveragedModel": _averaged,
}


def hooks(model: nn.Module) -> dict[str, Any]:
    """Return what is in the dictionaries of hooks of all modules, and on the dictionaries themselves."""
    return {
        f"{kind} of {name}": (list(found), vars(found))
        for name, module in model.named_modules()
        for kind, found in vars(module).items()
        if "hooks" in kind and isinstance(found, dict) and (found or getattr(found, "__dict__", None))
    }


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_clean_at_any_moment(way: str) -> None:
    """Copies have the weights and nothing of the recorder, which measures as if there were none."""
    model, expected = seeded(Picklable), seeded(Picklable)
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (model, expected)]
    copies: list[nn.Module] = []
    watched: list[int] = []

    def keep() -> None:
        watched.append(len(hooks(model)))
        copies.append(COPIES[way](model))
        for name, value in model.state_dict().items():
            assert torch.equal(copies[-1].state_dict()[name], value)

    before = {"weight": gradflow.probe(expected, rows(), labels()).units}
    with gradflow.Recorder(model, every=2) as recorder:
        for _ in range(3):
            keep()
            for one, optimizer in zip((model, expected), optimizers, strict=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(one(rows()), labels())
                if one is model:
                    keep()
                loss.backward()
                optimizer.step()
            keep()
            recorder.step()
            keep()
    assert max(watched) > min(watched) == 0  # there were hooks to leave out
    assert recorder.record.steps["iteration"].tolist() == [0, 2]
    assert recorder.record.units["grad_in_norm"].tolist()[:3] == pytest.approx(
        before["weight"]["grad_in_norm"].tolist(), rel=1e-6
    )
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [hooks(one) for one in copies] == [{}] * len(copies)
    assert hooks(model) == {}


def test_a_copy_measures_nothing_and_keeps_no_recorder_alive() -> None:
    """A copy that trains in a step that is due is not measured, and the recorder goes when its owner goes."""
    model = seeded(Chain)
    recorder = gradflow.Recorder(model, every=1)
    with recorder:
        twin = copy.deepcopy(model)
        F.cross_entropy(twin(rows() + 1), labels()).backward()
        F.cross_entropy(model(rows()), labels()).backward()
        recorder.step()
        later = copy.deepcopy(model)
    expected = gradflow.probe(model, rows(), labels())
    assert recorder.record.units["x_norm"].tolist() == pytest.approx(
        expected.units["x_norm"].tolist(), rel=1e-6
    )
    gone = weakref.ref(recorder)
    del recorder, model
    gc.collect()
    assert gone() is None
    assert len(list(twin.parameters())) == len(list(later.parameters()))


def test_hooks_of_others_are_copied_and_can_be_removed() -> None:
    """Somebody's own hooks come before and after ours, are in a copy, and go when they are told to."""
    model = nn.Sequential(nn.Linear(2, 2))
    first = model.register_forward_hook(print)
    ours = UncopiedHook(model, model.register_forward_hook(lambda *_: None, always_call=True))
    also = UncopiedHook(model, model.register_forward_hook(lambda *_: None, with_kwargs=True))
    second = model.register_forward_hook(repr, prepend=True)
    assert list(copy.deepcopy(model)._forward_hooks.values()) == [repr, print]
    assert not copy.deepcopy(model)._forward_hooks_always_called
    ours.remove()
    assert not copy.deepcopy(model)._forward_hooks_with_kwargs
    second.remove()
    assert list(copy.deepcopy(model)._forward_hooks.values()) == [print]
    also.remove()
    first.remove()
    assert hooks(model) == {}
    plain = model.register_forward_hook(print)  # and a dictionary that is left is copied as ever
    assert list(copy.deepcopy(model)._forward_hooks.values()) == [print]
    plain.remove()
