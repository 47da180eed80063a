"""Seeds, random states and deterministic kernels, each put back as it was.

Everything here is a context manager: code that draws numbers or needs repeatable kernels
says so for as long as it runs, and the caller's settings are untouched afterwards, also
after an exception.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Put the random states of Python, NumPy and torch (CPU, and CUDA if in use) back afterwards.

    A CUDA context that does not exist yet is not created for this.

    Yields:
        nothing.
    """
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what is to be preserved
    torch_state = torch.random.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002 - as above
        torch.random.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)


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


@contextmanager
def deterministic_kernels() -> Iterator[None]:
    """Choose kernels that give the same bits on every run, with float32 products in full precision.

    cuDNN's autotuner is off, since it may choose another algorithm each time; TF32 is off,
    which would keep 10 bits of the mantissa only and turn the check of an equation into a
    check of TF32. An operation without a deterministic form warns and runs.

    Yields:
        nothing.
    """
    cudnn = torch.backends.cudnn
    settings = (cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32)
    matmul_tf32 = torch.backends.cuda.matmul.allow_tf32
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_CUBLAS_WORKSPACE)
    try:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = False, True, False
        torch.backends.cuda.matmul.allow_tf32 = False
        os.environ.setdefault(_CUBLAS_WORKSPACE, ":4096:8")  # without it cuBLAS refuses to be deterministic
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = settings
        torch.backends.cuda.matmul.allow_tf32 = matmul_tf32
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        if workspace is None:
            os.environ.pop(_CUBLAS_WORKSPACE, None)
