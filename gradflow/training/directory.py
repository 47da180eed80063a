"""A run's directory: one run, and one job that writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from gradflow.errors import TrainingError
from gradflow.record.files import explained

LOCK = ".lock"


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the directory `out`, which is made if need be, against any other process that would train there.

    The operating system lets go of the lock when the process ends, however it does.

    Yields:
        nothing.

    Raises:
        TrainingError: if another process holds it.
        RecordError: if it cannot be written.
    """
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise TrainingError(
                f"another process is training in '{out}'; wait for it, or choose another --out"
            ) from error
    try:
        yield
    finally:
        lock.release()
