"""Arrays at known addresses, in compiled code.

To hand a kernel an array, a tensor is made one, turned and reshaped, and taken apart again: a dozen calls,
each of which takes microseconds in the middle of a pass, whose tensors have driven all else out of the
processor's caches. Its address is one number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import types
from numba.extending import intrinsic

Number = np.floating[Any]

READABLE: dict[torch.dtype, Number] = {torch.float32: np.float32(0), torch.float64: np.float64(0)}
"""Types that kernels are compiled for, and a number of each."""


def _as_pointer(_typing: Any, address: Any, like: Any) -> tuple[Any, Callable[..., Any]]:
    """Return how an address, in compiled code, becomes a pointer to numbers of the type of `like`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), generate  # type: ignore[no-untyped-call] # not annotated


pointer: Callable[..., Any] = intrinsic(_as_pointer)
"""In a kernel, ``carray(pointer(address, like), shape)`` is the array; `like` is a number of its type."""
