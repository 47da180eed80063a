"""Giving back to the system what memory lies free between tensors of a forward pass.

The C library keeps what a program lets go of, to use it again. Where something small lies in between, pieces
are too short for a large tensor, and it takes new memory beside them: in training on a CPU about a third of
the process may be such pieces. The few small things that a measured pass takes make that worse. Pages that
nothing lies in can be had back at any time and cost nothing until they are written to again.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

Trim = Callable[[int], int]

WORTHWHILE = 2**22
"""Elements of all units' values together from which on it is: looking for pages takes some milliseconds."""


def give_back_beside(shapes: Iterable[Sequence[int]]) -> bool:
    """Give back pages of the heap in which nothing lies, in a process that holds tensors of these shapes.

    Args:
        shapes: of the units' values.

    Returns:
        whether any were; not where the tensors are small, or the C library is one that cannot.
    """
    trim = _trim()
    return trim is not None and sum(map(math.prod, shapes)) >= WORTHWHILE and bool(trim(0))


@lru_cache(maxsize=1)
def _trim() -> Trim | None:
    """Return glibc's `malloc_trim`, which keeps 0 bytes at the end of the heap; None in other C libraries."""
    if sys.platform != "linux":
        return None
    found: Trim | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
