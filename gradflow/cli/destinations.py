"""Where a record goes: `runs/<model>-<n>` with the next free n, or the directory that `--out` names.

What cannot be written is found out before the measurement, not after; what is written appears at
once and whole.
"""

from __future__ import annotations

import itertools
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradflow.errors import RecordError

if TYPE_CHECKING:
    from gradflow.record import Record

RUNS = Path("runs")
REPORTS = Path("reports")


def file_name(spec: str) -> str:
    """Return a model's specification as a name: `torchvision:resnet18` → `torchvision-resnet18`."""
    return re.sub(r"[^\w.-]+", "-", spec, flags=re.ASCII).strip("-.") or "model"


def require_writable(directory: Path) -> None:
    """Check that `directory` can be created and written.

    Raises:
        RecordError: if it cannot, naming the part of the path that is in the way.
    """
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise RecordError(f"cannot write to {directory}: {existing} is not a directory; choose another --out")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RecordError(
            f"cannot write to {directory}: {error.strerror or error}; choose another --out"
        ) from error


def require_free(out: Path, *, force: bool) -> None:
    """Check that a record can be put at `out`: nothing is there, or a record that `force` may replace.

    Raises:
        RecordError: if something is there that is to be kept, or `out` is not writable.
    """
    from gradflow.record.storage import RECORD_FILES

    if out.exists() or out.is_symlink():
        if not force:
            raise RecordError(f"{out} exists and is kept; choose another --out, or --force to replace it")
        if not out.is_dir() or {entry.name for entry in out.iterdir()} - RECORD_FILES:
            raise RecordError(f"{out} holds more than a record, so it is kept; choose another --out")
    require_writable(out.absolute().parent)


@contextmanager
def next_free_run(spec: str) -> Iterator[Path]:
    """Yield `runs/<model>-<n>` with the lowest free n, claimed until the context is left.

    The claim is a hidden file that only one process can create, so two that finish together never
    write to the same place.
    """
    RUNS.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        run = RUNS / f"{file_name(spec)}-{number}"
        claim = RUNS / f".{run.name}.claim"
        with suppress(FileExistsError):
            claim.touch(exist_ok=False)
            try:
                if not run.exists():
                    yield run
                    return
            finally:
                claim.unlink()


def check_destination(out: Path | None, *, force: bool) -> None:
    """Check, before the work begins, that its result can be saved.

    Raises:
        RecordError: if it cannot.
    """
    if out is None:
        require_writable(RUNS)
    else:
        require_free(out, force=force)


def save_record(record: Record, spec: str, out: Path | None, *, force: bool) -> Path:
    """Save `record` to `out`, or else to the next free run of `spec`; return where it is.

    Raises:
        RecordError: if it cannot be written.
    """
    if out is not None:
        record.save(out, force=force)
        return out
    with next_free_run(spec) as run:
        record.save(run)
        return run
