"""Random states and kernel settings come back as they were."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradflow.determinism import (
    full_precision,
    preserved_random_state,
    random_state,
    seeded,
    set_random_state,
)


def draw() -> tuple[Any, ...]:
    """Draw from each of the three generators of the process."""
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002 - the global state is meant


class InTheMiddleError(Exception):
    pass


def leave(context: AbstractContextManager[None], *, by_error: bool) -> None:
    """Draw within `context` and leave it, by an exception if told so."""
    with suppress(InTheMiddleError), context:
        draw()
        if by_error:
            raise InTheMiddleError


@pytest.mark.parametrize("by_error", [False, True])
@pytest.mark.parametrize("make", [preserved_random_state, lambda: seeded(3)], ids=["preserved", "seeded"])
def test_drawing_inside_changes_nothing_outside(make: Any, by_error: bool) -> None:
    """What is drawn after the context is what would have been drawn without it."""
    with seeded(11):
        expected = draw()
    with seeded(11):
        leave(make(), by_error=by_error)
        assert draw() == expected


def test_a_seed_gives_the_same_numbers() -> None:
    """Seeds repeat, other seeds differ, and large ones are taken."""
    numbers = []
    for seed in (0, 0, 1, 2**40):
        with seeded(seed):
            numbers.append(draw())
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3


@pytest.mark.parametrize("by_error", [False, True])
def test_precision_is_full_inside_and_put_back(by_error: bool) -> None:
    """Inside, TF32 is off for products and convolutions; outside, all is as before."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        with full_precision():
            assert not cudnn.allow_tf32
            assert not matmul.allow_tf32
        leave(full_precision(), by_error=by_error)
        assert cudnn.allow_tf32
        assert matmul.allow_tf32
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def test_precision_is_full_where_the_newer_settings_are_in_use() -> None:
    """torch hides its older settings beside them; they are put back, too."""
    code = """
import torch
from gradflow.determinism import full_precision
torch.backends.cuda.matmul.fp32_precision = "tf32"
with full_precision():
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"
assert torch.backends.cuda.matmul.fp32_precision == "tf32"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_random_state_survives_a_file(tmp_path: Path) -> None:
    """Python, NumPy and torch draw the same again from states that were saved as plain tensors."""
    with preserved_random_state():
        random.gauss(0, 1)  # half of a pair, the other half of which is part of the state
        torch.save(random_state(), tmp_path / "state.pt")
        first, second = (random.gauss(0, 1), *draw()), draw()
        set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
        assert (random.gauss(0, 1), *draw()) == first
        assert draw() == second != first[1:]
