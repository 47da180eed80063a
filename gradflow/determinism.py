"""Seeds, random states and precision, each put back as it was.

Everything here is a context manager: code that draws numbers or needs repeatable kernels
says so for as long as it runs, and the caller's settings are untouched afterwards, also
after an exception.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Put the random states of Python, NumPy and torch (CPU, and CUDA if in use) back afterwards.

    A CUDA context that does not exist yet is not created for this.

    Yields:
        nothing.
    """
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from generators that start at `seed`, and put the caller's random states back afterwards.

    CUDA's are seeded if CUDA is in use. Otherwise `torch.manual_seed` would leave a seed for
    CUDA behind, which its first use would take up long after this context.

    Args:
        seed: a non-negative integer; its low 32 bits seed NumPy, which takes no more.

    Yields:
        nothing.
    """
    with preserved_random_state():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - users' own data sets and models draw from it
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(seed)
        yield


def random_state() -> dict[str, Any]:
    """Return the random states of Python, NumPy and torch as tensors and plain numbers.

    These can be saved and loaded without running code (`torch.load(weights_only=True)`).
    """
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global state
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "kind": kind,
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "rest": (int(position), int(has_gauss), float(cached)),
        },
        "torch": torch.random.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],  # type: ignore[no-untyped-call] # torch does not annotate it
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put back what `random_state` returned; CUDA's only where there are as many devices."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state((numpy["kind"], keys, *numpy["rest"]))  # noqa: NPY002 - the global state
    torch.random.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 products on CUDA in full precision.

    By default cuDNN rounds them to TF32, which keeps 10 bits of the mantissa: a tolerance that
    is derived from float32 would then be about something else. Nothing changes on a CPU.

    Yields:
        nothing.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    try:
        settings = cudnn.allow_tf32, matmul.allow_tf32
    except RuntimeError:  # the process uses torch's newer settings, beside which it hides the older ones
        with _full_precision_by_name():
            yield
        return
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = settings


@contextmanager
def _full_precision_by_name() -> Iterator[None]:
    cudnn: Any = torch.backends.cudnn
    kinds: list[Any] = [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul]
    settings = [kind.fp32_precision for kind in kinds]
    try:
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        for kind, setting in zip(kinds, settings, strict=True):
            kind.fp32_precision = setting
