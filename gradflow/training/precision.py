"""In which precision and layout a network trains."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def working_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a forward pass: bfloat16 where it is safe on CUDA, float32 on a CPU.

    On CPUs both autocast and `torch.compile` made steps slower when they were tried.
    """
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def dtype_of(device: torch.device) -> str:
    """Return in words in which numbers a step is computed."""
    return "bfloat16 by autocast" if device.type == "cuda" else "float32"
