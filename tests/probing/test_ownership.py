"""A gradient is written to only if nobody else holds it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_networks import Chain, labels, rows, seeded
from torch import Tensor

from gradflow.probing import probe
from gradflow.probing.ownership import is_nobody_elses
from gradflow.probing.parts import PartReader
from gradflow.probing.reductions import Reducer

Hook = Any


def seen_by_hook(value: Tensor, *before: Hook) -> list[bool]:
    """Return what a hook on the node that made `value` finds out about each gradient it is given."""
    found: list[bool] = []

    def hook(gradients: tuple[Any, ...], _: tuple[Any, ...]) -> None:
        found.extend(is_nobody_elses(gradients, index) for index in range(len(gradients)))

    assert value.grad_fn is not None
    for other in before:
        value.grad_fn.register_hook(other)
    value.grad_fn.register_hook(hook)
    value.sum().backward()
    return found


def leaf() -> Tensor:
    """Return something that has a history."""
    return torch.arange(6.0).reshape(2, 3).requires_grad_() * 1


def test_a_new_gradient_is_nobody_elses() -> None:
    """What the node has computed itself may be written to; a gradient that is not there, not."""
    assert seen_by_hook(leaf().exp()) == [True]
    assert seen_by_hook(F.linear(leaf(), torch.ones(2, 3))) == [False, True] or seen_by_hook(
        F.linear(leaf(), torch.ones(2, 3))
    ) == [True, False]


def test_one_that_is_handed_on_twice_is_not() -> None:
    """An addition hands what it was given to both operands; a view is somebody else's memory."""
    assert seen_by_hook(leaf() + leaf()) == [False, False]
    assert seen_by_hook(leaf().exp().view(6)) == [False]


@pytest.mark.parametrize("what", ["tuple", "tensor", "view"])
def test_one_that_somebody_keeps_is_not(what: str) -> None:
    """Somebody else's hook on the same node has kept it, or what it came in, or a view of it."""
    kept: list[Any] = []

    def keep(gradients: tuple[Any, ...], _: tuple[Any, ...]) -> None:
        kept.append({"tuple": gradients, "tensor": gradients[0], "view": gradients[0].view(-1)}[what])

    assert seen_by_hook(leaf().exp(), keep) == [False]


def test_the_probe_adds_in_place_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a chain of units every sum takes the place of the branch's part, which is new each time."""
    in_place: list[bool] = []
    add = Reducer.add

    def noted(self: Reducer, *args: Any, **options: Any) -> Any:
        in_place.append(options["in_place"])
        return add(self, *args, **options)

    monkeypatch.setattr(Reducer, "add", noted)
    model = seeded(Chain)
    units = probe(model, rows(), labels()).units
    assert in_place == [True] * len(units)


def test_what_somebody_has_kept_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook that was there before ours keeps a branch's part, and finds in it what it was given."""
    kept: list[tuple[Tensor, Tensor]] = []
    make = PartReader.__init__

    def keep(gradients: tuple[Any, ...], _: tuple[Any, ...]) -> None:
        kept.extend((part, part.clone()) for part in gradients if part is not None)

    def with_somebody_before(self: PartReader, units: Any, *args: Any, **options: Any) -> None:
        for unit in units:
            for edge in unit.branch_edges:
                edge.consumer.register_hook(keep)
        make(self, units, *args, **options)

    monkeypatch.setattr(PartReader, "__init__", with_somebody_before)
    probe(seeded(Chain), rows(), labels())
    assert kept
    assert all(torch.equal(part, was) for part, was in kept)
