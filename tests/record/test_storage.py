"""Records on disk: whole or not at all, and refused when damaged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from _records import make_record, with_path_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow.errors import RecordError
from gradflow.record import Record, find_records, load_record, storage
from gradflow.record import files as record_files
from gradflow.record.schema import ALWAYS_WRITTEN, TABLES
from gradflow.record.storage import METADATA_FILE, RECORD_FILES, rewrite_record, table_file


@pytest.fixture
def record() -> Record:
    """A small record with a row in every table."""
    return with_path_tables(make_record(stages=(2, 2)))


def listing(path: Path) -> dict[str, bytes]:
    """Return the contents of every file below `path`."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_round_trip(record: Record, tmp_path: Path) -> None:
    """What is read is what was saved, types included; parents are made."""
    record.save(tmp_path / "a" / "run")
    loaded = load_record(tmp_path / "a" / "run")
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(loaded, table), getattr(record, table))
    assert loaded.meta == record.meta
    assert {entry.name for entry in (tmp_path / "a" / "run").iterdir()} == RECORD_FILES


def test_same_record_same_bytes(record: Record, tmp_path: Path) -> None:
    """Saving is deterministic."""
    record.save(tmp_path / "a")
    record.save(tmp_path / "b")
    assert listing(tmp_path / "a") == listing(tmp_path / "b")


@settings(max_examples=12, deadline=None)
@given(
    norms=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5),
    count=st.none() | st.integers(-(2**63), 2**63 - 1),
    name=st.text(st.characters(codec="utf-8"), max_size=8),
)
def test_any_value_survives(
    norms: list[float], count: int | None, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any float, 64-bit integer, null or text comes back as it went."""
    units = pd.DataFrame({"x_norm": norms})
    units["numel"] = pd.array([count] * len(norms), dtype="Int64")
    units["name"] = name
    units["unit"] = range(len(norms))
    record = Record(units=units, meta=make_record(stages=(1,)).meta)
    path = tmp_path_factory.mktemp("any") / "run"
    record.save(path)
    pd.testing.assert_frame_equal(load_record(path).units, record.units, check_exact=True)


def test_existing_record_is_kept(record: Record, tmp_path: Path) -> None:
    """Without force a record that is there is neither replaced nor touched."""
    record.save(tmp_path / "run")
    before = listing(tmp_path)
    with pytest.raises(RecordError, match=r"exists and was kept.*--force"):
        make_record(seed=3, stages=(1,)).save(tmp_path / "run")
    assert listing(tmp_path) == before


def test_force_replaces_a_record(record: Record, tmp_path: Path) -> None:
    """With force the new record stands in the old one's place, and nothing else is left."""
    record.save(tmp_path / "run")
    make_record(seed=3, stages=(1,)).save(tmp_path / "run", force=True)
    assert load_record(tmp_path / "run").meta["seeds"] == [3]
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_force_never_replaces_other_files(record: Record, tmp_path: Path) -> None:
    """A directory with anything beside a record's files is kept, force or not; so is a file."""
    record.save(tmp_path / "run")
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("text")
    before = listing(tmp_path)
    with pytest.raises(RecordError, match=r"'thesis\.tex', which is no part of a record"):
        record.save(tmp_path / "run", force=True)
    with pytest.raises(RecordError, match="is a file, not a record"):
        record.save(tmp_path / "file", force=True)
    assert listing(tmp_path) == before


def test_empty_directory_is_filled(record: Record, tmp_path: Path) -> None:
    """An empty directory holds nothing to lose: it may have been claimed beforehand."""
    (tmp_path / "run").mkdir()
    record.save(tmp_path / "run")
    assert len(load_record(tmp_path / "run").units) == 4


def test_link_stays_a_link(record: Record, tmp_path: Path) -> None:
    """A record saved over a link to a record replaces what the link points to."""
    record.save(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    make_record(seed=5, stages=(1,)).save(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert load_record(tmp_path / "real").meta["seeds"] == [5]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 0], "holds unit 0 more than once in iteration 0, seed 0, batch 0"),
        ([0, None], "has 1 rows without a unit's number"),
        ([-1, 0], "has unit -1: units are counted from 0"),
    ],
)
def test_units_have_numbers_of_their_own(
    numbers: list[int | None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that would be averaged into one unit are refused, when saved and when somebody else saved them."""
    record = make_record(stages=(2,))
    units = record.units.assign(unit=pd.array(numbers, dtype="Int64"))
    odd = Record(units, record.parameters, record.checks, record.steps, meta=record.meta)
    with pytest.raises(RecordError, match=message):
        odd.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with monkeypatch.context() as patch:
        patch.setattr(storage, "validate_units", lambda _: None)
        odd.save(tmp_path / "run")
    with pytest.raises(RecordError, match=rf"run' is damaged: the table 'units' {message}"):
        load_record(tmp_path / "run")


def test_seeds_and_batches_may_share_numbers(tmp_path: Path) -> None:
    """The same unit in another iteration, seed or batch is another measurement, and saved as before."""
    passes = ({}, {"seed": 1}, {"batch_index": 1}, {"iteration": 1})
    Record.concat([make_record(stages=(2,), **one) for one in passes]).save(tmp_path / "run")
    assert len(load_record(tmp_path / "run").units) == 8


@pytest.mark.parametrize("call", range(5))
@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), RecordError, "disk is full"),
        (OSError(errno.EACCES, "Permission denied"), RecordError, "no permission"),
        (KeyboardInterrupt("by the user"), KeyboardInterrupt, "by the user"),
    ],
    ids=["disk full", "denied", "Ctrl-C"],
)
def test_interrupted_save_loses_nothing(
    failure: BaseException,
    raised: type[BaseException],
    message: str,
    call: int,
    record: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure at any of the five files leaves the old record whole and nothing beside it."""
    record.save(tmp_path / "run")
    before = listing(tmp_path)
    real, calls = os.fsync, iter(range(100))

    def fail(descriptor: int) -> None:
        if next(calls) == call:
            raise failure
        real(descriptor)

    monkeypatch.setattr(record_files.os, "fsync", fail)
    with pytest.raises(raised, match=message):
        make_record(seed=9, stages=(1,)).save(tmp_path / "run", force=True)
    assert listing(tmp_path) == before
    calls = iter(range(100))
    with pytest.raises(raised, match=message):
        record.save(tmp_path / "other")
    assert listing(tmp_path) == before


def test_failed_rename_brings_the_old_record_back(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the new record cannot be put in place, the old one stands there again."""
    record.save(tmp_path / "run")
    before = listing(tmp_path)
    real = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if "unfinished" in self.name:
            raise KeyboardInterrupt("by the user")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt, match="by the user"):
        record.save(tmp_path / "run", force=True)
    monkeypatch.undo()
    assert listing(tmp_path) == before


def test_full_disk(record: Record) -> None:
    """A disk that is really full gives one line (Linux's /dev/full)."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(RecordError, match=r"disk is full.*no file was half written"),
        record_files.explained(Path("run")),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")


def test_file_in_the_way(record: Record, tmp_path: Path) -> None:
    """A parent that is a file gives one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="a file stands where a directory is needed"):
        record.save(tmp_path / "file" / "run")


def test_unwritable_directory(record: Record, tmp_path: Path) -> None:
    """A directory without write permission gives one line."""
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(RecordError, match="no permission"):
        record.save(tmp_path / "run")


def test_incomplete_metadata_is_not_saved(record: Record, tmp_path: Path) -> None:
    """A record that could not be read again is not written."""
    del record.meta["bn"]
    with pytest.raises(RecordError, match="lacks 'bn'"):
        record.save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_no_record(tmp_path: Path) -> None:
    """Where there is no record, the message says what was expected."""
    with pytest.raises(RecordError, match=r"no record at.*expected a directory with record\.json"):
        load_record(tmp_path)
    with pytest.raises(RecordError, match="no record at"):
        load_record(tmp_path / "missing")


@pytest.mark.parametrize("table", TABLES)
def test_damaged_table(table: str, record: Record, tmp_path: Path) -> None:
    """One flipped bit of a table, or its loss, is noticed and the file is named."""
    record.save(tmp_path / "run")
    file = tmp_path / "run" / f"{table}.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RecordError, match=rf"damaged: {table}\.parquet.*digest differs"):
        load_record(tmp_path / "run")
    file.unlink()
    with pytest.raises(RecordError, match=rf"damaged: {table}\.parquet is missing"):
        load_record(tmp_path / "run")


def edit_head(path: Path, **changes: object) -> None:
    """Change keys of `record.json`."""
    file = path / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_table_that_is_not_parquet(record: Record, tmp_path: Path) -> None:
    """A table with a right digest but no Parquet in it is refused in one line."""
    record.save(tmp_path / "run")
    (tmp_path / "run" / "units.parquet").write_bytes(b"nonsense")
    tables = json.loads((tmp_path / "run" / "record.json").read_text())["tables"]
    tables["units"]["sha256"] = record_files.sha256(b"nonsense")
    edit_head(tmp_path / "run", tables=tables)
    with pytest.raises(RecordError, match=r"units\.parquet cannot be read \([^\n]*\)[^\n]*$"):
        load_record(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, r"schema version 99, and this gradflow reads up to \d+: upgrade"),
        ({"schema_version": "1"}, "has no schema version"),
        ({"format": "other"}, "does not say that it is a gradflow record"),
        ({"tables": {}}, "does not list the table 'units'"),
        ({"tables": None}, "lacks its metadata or its list of tables"),
        ({"meta": {"bn": "batch"}}, "the metadata.*was changed"),
    ],
)
def test_wrong_head(changes: dict[str, object], message: str, record: Record, tmp_path: Path) -> None:
    """A `record.json` that is of a later version, or not as it was written, is refused."""
    record.save(tmp_path / "run")
    edit_head(tmp_path / "run", **changes)
    with pytest.raises(RecordError, match=message):
        load_record(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "{", "[]", "\udcff"])
def test_head_that_is_not_json(text: str, record: Record, tmp_path: Path) -> None:
    """A truncated or garbled `record.json` is refused."""
    record.save(tmp_path / "run")
    (tmp_path / "run" / "record.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RecordError, match=r"damaged: record\.json"):
        load_record(tmp_path / "run")


def test_find_records(record: Record, tmp_path: Path) -> None:
    """Records are found in a directory in the order of their numbers, what is half there included."""
    for name in ("preact20-10", "preact20-2", "alexnet"):
        record.save(tmp_path / name)
    (tmp_path / "preact20-10" / "record.json").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / ".preact20-3.unfinished-0").mkdir()
    assert [path.name for path in find_records(tmp_path)] == ["alexnet", "preact20-2", "preact20-10"]
    assert find_records(tmp_path / "alexnet") == [tmp_path / "alexnet"]
    with pytest.raises(RecordError, match=r"no run at.*gradflow probe"):
        find_records(tmp_path / "missing")


def test_reading_needs_no_torch(record: Record, tmp_path: Path) -> None:
    """Records are read without torch being imported."""
    record.save(tmp_path / "run")
    code = "import sys, gradflow; gradflow.load_record(sys.argv[1]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=True)


def test_tables_that_few_records_have_are_written_where_they_have_a_row(tmp_path: Path) -> None:
    """A record without paths is on disk as before there were any; one with paths has them again."""
    record = make_record(stages=(2,))
    record.save(tmp_path / "without")
    names = {path.name for path in (tmp_path / "without").iterdir()}
    assert names == {METADATA_FILE, *(table_file(table) for table in ALWAYS_WRITTEN)}
    assert load_record(tmp_path / "without").paths.empty
    with_path_tables(record).save(tmp_path / "with")
    assert len(load_record(tmp_path / "with").paths) == 3  # lengths 0 to 2


def test_rewriting_keeps_an_earlier_state_until_the_end(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before any of its files, rewriting leaves the earlier record; after the last, the later one."""
    later = make_record(stages=(2, 3))
    rewrite_record(record, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    real = storage.write_file
    for files in range(20):
        remaining = iter([False] * files)

        def stop(path: Path, content: bytes, remaining: Iterator[bool] = remaining) -> None:
            if next(remaining, True):
                raise KeyboardInterrupt
            real(path, content)

        monkeypatch.setattr(storage, "write_file", stop)
        try:
            rewrite_record(later, tmp_path)
        except KeyboardInterrupt:
            assert len(load_record(tmp_path).units) == len(record.units)
        else:
            break
    assert files > 1
    assert len(load_record(tmp_path).units) == len(later.units)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert len(list(tmp_path.glob("*.parquet"))) == len(TABLES)  # nothing of the earlier one is left


def test_record_that_is_rewritten_while_it_is_read(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads the list of tables, and then finds them replaced, gets the later record; a loss stays one."""
    later = make_record(stages=(2, 3))
    rewrite_record(record, tmp_path)
    real = storage._read_head

    def then_rewritten(path: Path) -> dict[str, Any]:
        head = real(path)
        rewrite_record(later, tmp_path)
        return head

    monkeypatch.setattr(storage, "_read_head", then_rewritten)
    assert len(load_record(tmp_path).units) == len(later.units)
    monkeypatch.undo()
    next(tmp_path.glob("units-*.parquet")).unlink()
    with pytest.raises(RecordError, match="is missing"):
        load_record(tmp_path)


def test_rewritten_record_is_checked_like_any(record: Record, tmp_path: Path) -> None:
    """A table that was changed, or a file name that leads elsewhere, is refused."""
    rewrite_record(record, tmp_path)
    head = json.loads((tmp_path / "record.json").read_bytes())
    name = head["tables"]["units"]["file"]
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(RecordError, match="its digest differs"):
        load_record(tmp_path)
    head["tables"]["units"]["file"] = "../units.parquet"
    (tmp_path / "record.json").write_text(json.dumps(head))
    with pytest.raises(RecordError, match="does not say which file holds the table 'units'"):
        load_record(tmp_path)
