"""Random states and kernel settings come back as they were."""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import pytest
import torch

from gradflow.determinism import deterministic_kernels, preserved_random_state, seeded


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


def settings() -> tuple[Any, ...]:
    """Return all that `deterministic_kernels` sets."""
    cudnn = torch.backends.cudnn
    return (
        cudnn.benchmark,
        cudnn.deterministic,
        cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


@pytest.mark.parametrize("by_error", [False, True])
@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_kernel_settings_are_set_and_put_back(
    by_error: bool, workspace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside, kernels are deterministic and in full precision; outside, all is as before."""
    if workspace is None:
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    else:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with deterministic_kernels():
        assert settings() == (False, True, False, False, True, True, workspace or ":4096:8")
    leave(deterministic_kernels(), by_error=by_error)
    assert settings() == before
