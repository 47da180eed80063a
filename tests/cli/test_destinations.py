"""Where records go."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradflow.cli.destinations import check_destination, file_name, next_free_run, require_writable
from gradflow.errors import RecordError


@pytest.fixture(autouse=True)
def _in_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("preact29-bottleneck", "preact29-bottleneck"),
        ("torchvision:resnet18", "torchvision-resnet18"),
        ("my.nets:build", "my.nets-build"),
        ("../../etc:x", "etc-x"),
        ("résumé:net", "r-sum-net"),
        ("::", "model"),
    ],
)
def test_model_specification_as_a_name(spec: str, name: str) -> None:
    """Any specification becomes one harmless directory name."""
    assert file_name(spec) == name


def test_runs_are_numbered_from_one_and_fill_gaps() -> None:
    """The lowest free n is taken, whatever stands at the others."""
    for taken in ("net-1", "net-3"):
        (Path("runs") / taken).mkdir(parents=True)
    with next_free_run("net") as run:
        assert run == Path("runs/net-2")


def test_two_at_once_get_different_runs() -> None:
    """A number is claimed until its record is written, and free again when none was."""
    with next_free_run("net") as first, next_free_run("net") as second:
        assert [first.name, second.name] == ["net-1", "net-2"]
        first.mkdir()
    with next_free_run("net") as third:
        assert third.name == "net-2"
    assert [path.name for path in Path("runs").iterdir()] == ["net-1"]


def test_existing_directory_is_kept() -> None:
    """A directory that exists is refused before the work; a record is replaced only by --force."""
    out = Path("out")
    out.mkdir()
    (out / "record.json").touch()
    with pytest.raises(RecordError, match="out exists and is kept; choose another --out, or --force"):
        check_destination(out, force=False)
    check_destination(out, force=True)


def test_force_replaces_nothing_but_records() -> None:
    """--force is no way to lose a directory that holds something else."""
    Path("out").mkdir()
    Path("out/thesis.tex").touch()
    with pytest.raises(RecordError, match="out holds more than a record, so it is kept"):
        check_destination(Path("out"), force=True)
    with pytest.raises(RecordError, match=r"thesis\.tex holds more than a record"):
        check_destination(Path("out/thesis.tex"), force=True)


def test_a_file_in_the_way_is_named() -> None:
    """A path that cannot become a directory is refused, naming the part that is in the way."""
    Path("file").touch()
    with pytest.raises(RecordError, match="cannot write to file/deep: file is not a directory"):
        require_writable(Path("file/deep"))


def test_unwritable_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory in which no file can be made is refused with the system's reason."""

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # root may write anywhere, so it is acted
    with pytest.raises(RecordError, match="cannot write to runs: Permission denied; choose another --out"):
        check_destination(None, force=False)


def test_checking_makes_nothing() -> None:
    """Asking whether something can be written leaves no trace."""
    check_destination(Path("a/b/c"), force=False)
    check_destination(None, force=False)
    assert list(Path().iterdir()) == []
