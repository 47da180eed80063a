"""A user's own batches."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from gradflow.data import open_data
from gradflow.errors import DataError

SOURCE = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def tokens(batch_size, seed):
    for index in range(3):
        ids = torch.full((batch_size, 5), seed + index)
        yield {"input_ids": ids, "labels": ids}, None

def loader(batch_size):
    set = TensorDataset(torch.arange(12.0)[:, None], torch.arange(12))
    return DataLoader(set, batch_size=batch_size, shuffle=True)

def noise():
    while True:
        yield torch.randn(2, 3), torch.zeros(2, dtype=torch.int64)

def factory():
    return lambda split: [((torch.ones(1), torch.ones(1)), split)]

ready = [(torch.ones(2, 1), torch.zeros(2))]

def single(): return torch.ones(2, 1), torch.zeros(2)
def number(): return 3
def tensor(): return torch.ones(3)
def triple(): return [(1, 2, 3)]
def words(): return [("words", None)]
def failing(): raise KeyError("no such\\nfile")
def breaking():
    yield torch.ones(1), None
    raise OSError("gone")
constant = 3.5
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module in the current directory."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(tmp_path)
    name = f"own_data_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(SOURCE)
    return name


def test_token_batches_come_as_they_are(own_module: str) -> None:
    """Dictionaries of a model's arguments pass through; the callable gets what its signature names."""
    source = open_data(f"{own_module}:tokens", batch_size=4, seed=7, num_classes=10)
    batches = list(source.batches(2))
    assert [batch[0]["input_ids"][0, 0].item() for batch in batches] == [7, 8]
    assert batches[0][0]["input_ids"].shape == (4, 5)
    assert batches[0][1] is None
    assert (source.name, source.classes) == (f"{own_module}:tokens", None)


@pytest.mark.parametrize("attribute", ["loader", "noise"])
def test_their_random_numbers_start_at_the_seed(own_module: str, attribute: str) -> None:
    """A shuffling loader and a generator of noise repeat for a seed, and leave the caller's state alone."""
    state = torch.get_rng_state()

    def first(seed: int) -> torch.Tensor:
        source = open_data(f"{own_module}:{attribute}", batch_size=6, seed=seed)
        return torch.cat([inputs for inputs, _ in source.batches(2)])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    assert torch.equal(torch.get_rng_state(), state)


def test_factories_and_ready_lists_work_too(own_module: str) -> None:
    """A callable that returns a callable is called again; an iterable is taken as it is."""
    inputs, targets = next(open_data(f"{own_module}:factory", split="test").batches(1))
    assert isinstance(inputs, tuple)
    assert targets == "test"
    assert next(open_data(f"{own_module}:ready").batches(1))[0].shape == (2, 1)


@pytest.mark.parametrize(
    ("attribute", "count", "message"),
    [
        ("tokens", 4, r"made 3 batches, 4 were asked for; lower --batches"),
        (
            "single",
            1,
            r"batch 0 is of type Tensor; expected \(inputs, targets\) each.* put a single batch in a",
        ),
        ("number", 1, r"returned int; expected batches: an iterable of \(inputs, targets\)"),
        ("tensor", 1, r"returned Tensor; expected batches"),
        ("triple", 1, r"batch 0 is of type tuple; expected \(inputs, targets\)"),
        ("words", 1, r"inputs of batch 0 are of type str; expected a tensor, or a tuple or dict"),
        ("failing", 1, r"failed: KeyError: 'no such\\nfile'$"),
        ("breaking", 2, r"failed: OSError: gone$"),
        ("constant", 1, r"is of type float; expected a callable that returns batches"),
        ("absent", 1, r"has no 'absent'"),
        ("ready", 0, r"0 batches were asked for; expected at least 1"),
    ],
)
def test_what_is_no_batch_is_refused(own_module: str, attribute: str, count: int, message: str) -> None:
    """Each way to be wrong is a DataError of one line that names the callable."""
    with pytest.raises(DataError, match=message) as caught:
        list(open_data(f"{own_module}:{attribute}", batch_size=2).batches(count))
    assert "\n" not in str(caught.value)
