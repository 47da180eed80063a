"""Writing a report's files beside other people's, and replacing only its own.

`report/manifest.json` lists the files with their SHA-256. A later report replaces or removes a file only
if it is listed and still what was written; a file of somebody else's, or one that was edited since, is
an error before anything is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradflow.errors import RecordError
from gradflow.record.files import explained, sha256, write_file

MANIFEST = "report/manifest.json"
FORMAT = "gradflow report"


def write_files(out: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` into `out`, replacing those of an earlier report and removing what it had besides.

    Args:
        out: the directory; it is made.
        files: contents by path relative to `out`, with forward slashes.

    Raises:
        RecordError: if a file that is in the way is not an earlier report's as it was written, or the
            operating system refuses.
    """
    with explained(out):
        earlier = _read_manifest(out)
        _refuse_foreign(out, files, earlier)
        new = {name: [sha256(content)] for name, content in files.items()}
        (out / MANIFEST).parent.mkdir(parents=True, exist_ok=True)
        # Until all is written, a file may be the earlier one or the new one: both are ours.
        both = {name: [*earlier.get(name, []), *new.get(name, [])] for name in {*earlier, *new}}
        write_file(out / MANIFEST, _manifest(both))
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(out / name, content)
        for name in set(earlier) - set(new):
            if _is_ours(out, name, earlier):
                (out / name).unlink()
        write_file(out / MANIFEST, _manifest(new))


def _refuse_foreign(out: Path, files: Mapping[str, bytes], earlier: Mapping[str, list[str]]) -> None:
    for name in files:
        path = out / name
        if not (path.exists() or path.is_symlink()) or _is_ours(out, name, earlier):
            continue
        why = (
            "was changed since gradflow wrote it" if name in earlier else "was not written by gradflow report"
        )
        raise RecordError(f"'{path}' {why}, so it is kept: move it away, or choose another --out")


def _is_ours(out: Path, name: str, earlier: Mapping[str, list[str]]) -> bool:
    path = out / name
    return (
        name in earlier
        and path.is_file()
        and not path.is_symlink()
        and sha256(path.read_bytes()) in earlier[name]
    )


def _read_manifest(out: Path) -> dict[str, list[str]]:
    path = out / MANIFEST
    if not path.exists():
        return {}
    try:
        return _listed(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"'{path}' does not list a report's files, so it cannot be told which are gradflow's: move it "
            "away, or choose another --out"
        ) from error


def _listed(manifest: Any) -> dict[str, list[str]]:
    files = manifest["files"]
    if manifest["format"] != FORMAT or not all(_is_inside(name) for name in files):
        raise ValueError
    return {str(name): [str(digest) for digest in digests] for name, digests in files.items()}


def _is_inside(name: str) -> bool:
    # The list decides what is deleted, so it must not reach out of the directory.
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _manifest(files: Mapping[str, list[str]]) -> bytes:
    content = {"format": FORMAT, "files": {name: files[name] for name in sorted(files)}}
    return (json.dumps(content, indent=1) + "\n").encode()
