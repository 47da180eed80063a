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
        whether any were; not where the tensors are small, the process has not grown since it was last asked
        for, or the C library is one that cannot.
    """
    trim = _trim()
    if trim is None or sum(map(math.prod, shapes)) < WORTHWHILE:
        return False
    return _PEAK.has_risen() and bool(trim(0))


class Peak:
    """The most memory that this process has had, and what it was when that was last asked."""

    def __init__(self) -> None:
        self._seen = 0

    def has_risen(self) -> bool:
        """Return whether it is higher by more than a hundredth than at the call before."""
        import resource  # there is none on Windows

        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        risen = now > 1.01 * self._seen
        self._seen = max(now, self._seen)
        return risen


_PEAK = Peak()


@lru_cache(maxsize=1)
def _trim() -> Trim | None:
    """Return glibc's `malloc_trim`, which keeps 0 bytes at the end of the heap; None in other C libraries."""
    if sys.platform != "linux":
        return None
    found: Trim | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found
