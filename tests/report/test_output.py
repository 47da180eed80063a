"""Which files of a directory a report may replace: those it wrote, as it wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradflow.errors import RecordError
from gradflow.record import files as record_files
from gradflow.report.output import MANIFEST, write_files

FILES = {"report.html": b"page", "report/checks.svg": b"svg", "report/checks.png": b"png"}


def listing(path: Path) -> dict[str, bytes]:
    """Return the contents of every file below `path` but the list of files."""
    files = (file for file in path.rglob("*") if file.is_file())
    contents = {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
    return {name: content for name, content in contents.items() if name != MANIFEST}


def test_files_are_written_and_listed(tmp_path: Path) -> None:
    """What is given is written, and listed with its digest."""
    write_files(tmp_path / "out", FILES)
    assert listing(tmp_path / "out") == FILES
    listed = json.loads((tmp_path / "out" / MANIFEST).read_text())["files"]
    assert listed == {name: [record_files.sha256(content)] for name, content in FILES.items()}


def test_later_report_replaces_its_own_files_only(tmp_path: Path) -> None:
    """Foreign files stay, the report's are replaced, and what it no longer writes goes."""
    write_files(tmp_path, FILES)
    (tmp_path / "analysis.csv").write_text("1")
    (tmp_path / "report" / "mine.txt").write_text("2")
    later = {"report.html": b"other", "report/new.svg": b"new"}
    write_files(tmp_path, later)
    assert listing(tmp_path) == {**later, "analysis.csv": b"1", "report/mine.txt": b"2"}


@pytest.mark.parametrize("name", FILES)
def test_foreign_file_is_kept(name: str, tmp_path: Path) -> None:
    """A file of somebody else's with a report's name is an error, and nothing is written."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(RecordError, match=rf"{name}' was not written by gradflow report, so it is kept"):
        write_files(tmp_path, FILES)
    assert listing(tmp_path) == {name: b"mine"}


def test_edited_file_is_kept(tmp_path: Path) -> None:
    """A page that somebody has edited since is theirs; one that is no longer written, too."""
    write_files(tmp_path, FILES)
    (tmp_path / "report.html").write_text("my notes")
    (tmp_path / "report" / "checks.png").write_text("my drawing")
    with pytest.raises(RecordError, match="was changed since gradflow wrote it"):
        write_files(tmp_path, FILES)
    (tmp_path / "report.html").write_bytes(b"page")
    write_files(tmp_path, {"report.html": b"page"})
    assert listing(tmp_path) == {"report.html": b"page", "report/checks.png": b"my drawing"}


def test_link_is_not_followed(tmp_path: Path) -> None:
    """A link with a report's name is somebody else's, whatever it points to."""
    (tmp_path / "elsewhere").write_bytes(b"page")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="was not written by gradflow report"):
        write_files(tmp_path / "out", FILES)
    assert (tmp_path / "elsewhere").read_bytes() == b"page"


@pytest.mark.parametrize(
    "manifest", ["", "[]", '{"format": "gradflow report", "files": {"../secret": ["0"]}}', '{"files": {}}']
)
def test_damaged_list_of_files(manifest: str, tmp_path: Path) -> None:
    """A list that is none, or that reaches out of the directory, is not followed."""
    (tmp_path / "out" / "report").mkdir(parents=True)
    (tmp_path / "out" / MANIFEST).write_text(manifest)
    (tmp_path / "secret").write_text("")
    with pytest.raises(RecordError, match="does not list a report's files"):
        write_files(tmp_path / "out", FILES)
    assert (tmp_path / "secret").exists()


@pytest.mark.parametrize("call", range(5))
def test_interrupted_report_can_be_repeated(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C at any file, every file is the earlier or the new one, and known as the report's own."""
    write_files(tmp_path, {"report.html": b"old", "report/gone.svg": b"gone"})
    real, calls = Path.replace, iter(range(100))

    def fail(self: Path, target: Path) -> Path:
        if next(calls) == call:
            raise KeyboardInterrupt("by the user")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        write_files(tmp_path, FILES)
    monkeypatch.undo()
    assert (tmp_path / "report.html").read_bytes() in {b"old", b"page"}
    assert not list(tmp_path.rglob("*unfinished*"))
    write_files(tmp_path, FILES)
    assert listing(tmp_path) == FILES


def test_file_in_the_way(tmp_path: Path) -> None:
    """A file where the report's directory should be is one line, not a traceback."""
    (tmp_path / "out").write_text("")
    with pytest.raises(RecordError, match="a file stands where a directory is needed"):
        write_files(tmp_path / "out", FILES)
