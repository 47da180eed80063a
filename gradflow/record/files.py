"""Writing files and directories so that a reader sees all of them or none.

Everything is written beside its place and renamed into it when it is complete, so an exception,
Ctrl-C or a full disk leaves what was there before.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gradflow.errors import RecordError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write `path` into one line.

    Raises:
        RecordError: if the disk is full, the place is not writable, or not a directory's.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            what = "the disk is full; free some space or write elsewhere with --out"
        elif error.errno in _DENIED:
            what = "no permission to write there; write elsewhere with --out"
        elif isinstance(error, (NotADirectoryError, FileExistsError)):
            what = "a file stands where a directory is needed; write elsewhere with --out"
        else:
            what = f"{error.strerror or error}; write elsewhere with --out"
        raise RecordError(f"cannot write '{path}': {what}; no file was half written") from error


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to the file `path`, whole or not at all, replacing one that is there.

    Raises:
        OSError: if the operating system refuses; the file that was there is then as it was.
    """
    unfinished = _sibling(path, "unfinished")
    try:
        _write_synced(unfinished, content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_directory(path.parent)


def write_directory(path: Path, files: Mapping[str, bytes], *, replace: Collection[str] = ()) -> None:
    """Write a directory `path` that holds `files`, whole or not at all.

    Args:
        path: where; its parents are made.
        files: contents by name.
        replace: names of the files that an existing directory may hold and still be replaced. With
            none, whatever exists is kept, an empty directory apart.

    Raises:
        RecordError: if something exists that may not be replaced, or the operating system refuses.
    """
    with explained(path):
        # A link is followed: what it points to is replaced, and the link stays.
        place = Path(os.path.realpath(path))
        require_replaceable(path, replace)
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = _sibling(place, "unfinished")
        try:
            unfinished.mkdir()
            for name, content in files.items():
                _write_synced(unfinished / name, content)
            _sync_directory(unfinished)
            _move_into_place(unfinished, place)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def require_replaceable(path: Path, replace: Collection[str] = ()) -> None:
    """Check that `write_directory` may write a directory to `path`.

    Args:
        path: where.
        replace: as for `write_directory`.

    Raises:
        RecordError: if something is there that may not be replaced.
    """
    place = Path(os.path.realpath(path))
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not replace:
        raise RecordError(
            f"'{path}' exists and was kept: choose another --out, or replace a record with --force"
        )
    if not place.is_dir():
        raise RecordError(f"'{path}' is a file, not a record, and was kept: choose another --out")
    foreign = sorted({entry.name for entry in place.iterdir()} - set(replace))
    if foreign:
        raise RecordError(
            f"'{path}' was kept, although to be replaced: it holds '{foreign[0]}', which is no part of a "
            "record; move that away or choose another --out"
        )


def _move_into_place(complete: Path, place: Path) -> None:
    """Rename `complete` to `place`; what was there goes only after the new one stands."""
    former = _sibling(place, "former")
    if place.exists():
        place.rename(former)
    try:
        complete.rename(place)
    except BaseException:
        if former.exists():
            former.rename(place)
        raise
    _sync_directory(place.parent)
    shutil.rmtree(former, ignore_errors=True)


def _sibling(path: Path, purpose: str) -> Path:
    # A rename is atomic only within one file system, hence beside it. Not `tempfile`, whose
    # permissions (0700) would stay with the finished directory.
    return path.with_name(f".{path.name}.{purpose}-{uuid.uuid4().hex[:12]}")


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the system has a way to; the contents are already."""
    with suppress(OSError):  # not on Windows, nor on some network file systems
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
