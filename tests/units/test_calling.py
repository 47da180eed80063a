"""How a model is called: tensors, tuples, dicts, and what is nested in them."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from small_networks import Chain, rows
from torch import Tensor

from gradflow import find_units
from gradflow.units.calling import batch_size, map_tensors, traceable

Pair = namedtuple("Pair", ["image", "depth"])  # noqa: PYI024 - what users' data sets return


class TwoInputs(Chain):
    """Adds a scaled second argument to the first."""

    def forward(self, x: Tensor, other: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return super().forward(x if other is None else x + scale * other)


class Nested(Chain):
    """Takes a structure of tensors."""

    def forward(self, pair: Pair) -> Tensor:
        return super().forward(pair.image + pair.depth)


@pytest.mark.parametrize(
    "inputs",
    [rows(), (rows(), rows()), [rows(), rows()], {"x": rows(), "other": rows(), "scale": 2.0}],
    ids=["tensor", "tuple", "list", "dict"],
)
def test_models_are_called_with_their_arguments(inputs) -> None:
    """A tuple or list goes by position, a dict by keyword, with values that are no tensors as they are."""
    assert len(find_units(TwoInputs(), inputs)) == 3


def test_named_tuples_keep_their_type() -> None:
    """A named tuple among the arguments arrives as a named tuple."""
    assert len(find_units(Nested(), {"pair": Pair(rows(), rows())})) == 3


def test_inputs_are_not_touched() -> None:
    """The model gets its own copies with a history; the caller's tensors need no gradient afterwards."""
    x = rows()
    before = x.clone()

    class InPlace(Chain):
        def forward(self, x: Tensor) -> Tensor:
            x += 1
            return super().forward(x)

    find_units(InPlace(), x)
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert x.grad is None


def test_integers_get_no_history() -> None:
    """Only floating-point inputs can carry a gradient."""
    called, leaves = traceable({"tokens": torch.zeros(2, 3, dtype=torch.long), "mask": torch.ones(2, 3)})
    assert called["tokens"].grad_fn is None
    assert called["mask"].grad_fn is not None
    assert [leaf.shape for leaf in leaves] == [(2, 3)]


def test_batch_size_is_that_of_the_first_tensor() -> None:
    """The first dimension of the first tensor counts, wherever it is nested; no tensor is no batch."""
    assert batch_size({"a": 3, "b": [torch.zeros(7, 2), torch.zeros(5)]}) == 7
    assert batch_size(torch.zeros(())) == 1
    assert batch_size(()) == 0


def test_structures_are_walked() -> None:
    """Tuples, lists and dicts keep their type and everything that is no tensor."""
    value = {"a": (torch.ones(2), "text", [torch.ones(1), None])}
    changed = map_tensors(value, lambda tensor: tensor * 2)
    assert changed["a"][0].tolist() == [2, 2]
    assert changed["a"][1:] == ("text", [torch.tensor([2.0]), None])
