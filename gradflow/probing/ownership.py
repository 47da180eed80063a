"""Whose is a gradient? One that nobody else holds may be written to.

The engine adds a gradient's parts in place where nobody else holds the first of them; it can tell
by a count of references. Python code has more to count, since a hook is given a tuple of Python
objects, and somebody else's hook may have kept any of them.
"""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from typing import Any

import torch

Holders = tuple[int, int, int, int]


def is_nobody_elses(gradients: tuple[Any, ...], index: int) -> bool:
    """Whether one of the gradients that a hook on an autograd node was given is held by nobody else.

    To be called from such a hook before it refers to the gradient in any other way.

    Args:
        gradients: what the hook was given, `grad_inputs`.
        index: which of them.
    """
    return gradients[index] is not None and _holders(gradients, index) == _holders_of_a_new_gradient()


def _holders(gradients: tuple[Any, ...], index: int) -> Holders:
    """Count what refers to the tuple, the Python tensor, the tensor itself, and its memory."""
    return (
        sys.getrefcount(gradients),
        sys.getrefcount(gradients[index]),
        gradients[index]._use_count(),  # noqa: SLF001 - as torch.utils.swap_tensors counts
        torch._C._storage_Use_Count(gradients[index].untyped_storage()._cdata),  # noqa: SLF001 - no public name
    )


@lru_cache(maxsize=1)
def _holders_of_a_new_gradient() -> Holders:
    """Count the same for a gradient that is new for certain; it depends on Python's and torch's versions."""
    found: list[Holders] = []

    def count(gradients: tuple[Any, ...], index: int) -> None:
        found.append(_holders(gradients, index))

    def hook(index: int, gradients: tuple[Any, ...], _: tuple[Any, ...]) -> None:
        count(gradients, index)  # as deep in calls as `is_nobody_elses`

    with torch.enable_grad():  # the first call is in the middle of a backward pass
        value = torch.ones(2, requires_grad=True).exp().exp()
        assert value.grad_fn is not None
        value.grad_fn.register_hook(partial(hook, 0))
        torch.autograd.backward(value.sum())
    return found[0]
