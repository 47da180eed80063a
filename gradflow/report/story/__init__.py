"""The story page: the paper's argument walked through with what the analyses measured. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from gradflow.errors import RecordError
from gradflow.record.files import explained, sha256, write_file
from gradflow.report.story.chapters import CHAPTERS, SOURCES
from gradflow.report.story.page import render_story
from gradflow.report.story.sources import find_analyses

__all__ = ["write_story"]

PAGE = "index.html"

_SEAL = re.compile(rb"<!-- written by gradflow report; SHA-256 of what is above: ([0-9a-f]{64}) -->\n\Z")


def write_story(analyses: Path, out: Path) -> tuple[Path, list[str], list[str]]:
    """Write the story of the analyses in `analyses` to `index.html` in `out`.

    The page's last line has a digest of all the others. A file that is in the way is replaced only if it has
    such
    a line and was not changed since; everything else in `out` is left alone.

    Args:
        analyses: the directory that holds a directory an analysis, named as `SOURCES` are.
        out: where the page goes; it is made.

    Returns:
        The path of the page, and the names of the analyses that were found and of those that were not.

    Raises:
        RecordError: if `analyses` holds none, one is damaged, something else is in the page's way, or `out`
            cannot be written. Nothing is written then.
    """
    found = find_analyses(SOURCES, analyses, out)
    content = _sealed(render_story(CHAPTERS, SOURCES, found))
    page = out / PAGE
    with explained(page):
        if page.exists() or page.is_symlink():
            _require_own(page)
        out.mkdir(parents=True, exist_ok=True)
        write_file(page, content)
    return page, list(found), [source.key for source in SOURCES if source.key not in found]


def _sealed(page: str) -> bytes:
    content = page.rstrip("\n").encode() + b"\n"
    return (
        content
        + f"<!-- written by gradflow report; SHA-256 of what is above: {sha256(content)} -->\n".encode()
    )


def _require_own(page: Path) -> None:
    """Check that the file `page` is a story as it was written.

    Raises:
        RecordError: if it is not.
    """
    content = page.read_bytes() if page.is_file() and not page.is_symlink() else b""
    seal = _SEAL.search(content)
    if seal is None:
        raise RecordError(
            f"'{page}' was not written by gradflow report, so it is kept: move it away, or choose another "
            "--out"
        )
    if seal[1].decode() != sha256(content[: seal.start()]):
        raise RecordError(
            f"'{page}' was changed since gradflow wrote it, so it is kept: move it away, or choose another "
            "--out"
        )
