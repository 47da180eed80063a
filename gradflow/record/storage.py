"""A record on disk: a directory with `record.json` and one Parquet file a table.

`record.json` holds the metadata, the version of the layout, and the SHA-256 of each table and of
the metadata, so that a damaged record is noticed before a number of it is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradflow.errors import RecordError
from gradflow.record.container import Record
from gradflow.record.files import explained, sha256, write_directory, write_file
from gradflow.record.metadata import as_json, validate_meta
from gradflow.record.numbering import validate_units
from gradflow.record.schema import ALWAYS_WRITTEN, SCHEMA_VERSION, TABLES, Kind, conform, empty
from gradflow.record.selection import at_iteration, split_iteration

if TYPE_CHECKING:
    from pandas.api.extensions import ExtensionDtype

METADATA_FILE = "record.json"
FORMAT = "gradflow record"

_HINT = "`gradflow probe --model preact164` makes one under runs/"

_ARROW_TYPES: dict[Kind, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
}
_PANDAS_TYPES: dict[pa.DataType, ExtensionDtype] = {
    # Through floats, integers beside a null would lose digits above 2**53.
    pa.int64(): pd.Int64Dtype(),
    pa.string(): pd.StringDtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def table_file(table: str) -> str:
    """Return the name of the file that holds `table`."""
    return f"{table}.parquet"


RECORD_FILES = frozenset({METADATA_FILE, *map(table_file, TABLES)})


def write_record(record: Record, path: Path, *, force: bool = False) -> None:
    """Write `record` to the directory `path`; see `Record.save`.

    Raises:
        RecordError: if `path` exists and `force` is not given, it cannot be written, or the record's
            metadata or its units' numbers are not valid.
    """
    contents = {table: _to_parquet(table, getattr(record, table)) for table in record.written}
    names = {table: table_file(table) for table in contents}
    files = {names[table]: content for table, content in contents.items()}
    files[METADATA_FILE] = _head(record, names, contents)
    write_directory(path, files, replace=RECORD_FILES if force else ())


def rewrite_record(record: Record, path: Path) -> None:
    """Write `record` into the directory `path` in place of an earlier state of it; other files stay.

    Whoever reads at any moment, or after the process was killed at any moment, sees the earlier
    state or this one: tables are written under names of their own, and `record.json`, which says
    the names, is replaced last.

    Args:
        record: the whole record, as it is now.
        path: a directory that exists.

    Raises:
        RecordError: if it cannot be written, or the record's metadata or its units' numbers are not valid.
    """
    contents = {table: _to_parquet(table, getattr(record, table)) for table in record.written}
    names = {table: f"{table}-{sha256(content)[:16]}.parquet" for table, content in contents.items()}
    with explained(path):
        for table, content in contents.items():
            if not (path / names[table]).exists():
                write_file(path / names[table], content)
        write_file(path / METADATA_FILE, _head(record, names, contents))
        for table, name in names.items():
            for former in path.glob(f"{table}-{'[0-9a-f]' * 16}.parquet"):
                if former.name != name:
                    former.unlink()


def _head(record: Record, names: Mapping[str, str], contents: Mapping[str, bytes]) -> bytes:
    """Return what `record.json` holds."""
    validate_meta(record.meta)
    validate_units(record.units)
    meta = as_json(record.meta)
    head = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "meta": meta,
        "meta_sha256": _meta_digest(meta),
        "tables": {
            table: {
                "file": names[table],
                "rows": len(getattr(record, table)),
                "sha256": sha256(contents[table]),
            }
            for table in contents
        },
    }
    return (json.dumps(head, indent=1, ensure_ascii=False) + "\n").encode()


def load_record(path: str | Path) -> Record:
    """Read the record in the directory `path`, without torch.

    Args:
        path: the directory; of a training run also one iteration, as `runs/mine@0`, `runs/mine@first` or
            `runs/mine@last`.

    Raises:
        RecordError: if there is none, it is damaged, a later gradflow wrote it, or it was not measured at
            that iteration.
    """
    folder, iteration = split_iteration(Path(path))
    record = _load_whole(folder)
    return record if iteration is None else at_iteration(record, iteration, folder)


def _load_whole(path: Path) -> Record:
    head = _read_head(path)
    while True:
        try:
            tables = {table: _read_table(path, table, head) for table in TABLES}
        except RecordError:
            earlier, head = head, _read_head(path)
            if head == earlier:
                raise
            # A run that is still training rewrote its record between the two: its tables are others now.
        else:
            return Record(**tables, meta=head["meta"])


def is_record(path: Path) -> bool:
    """Return whether the directory `path` holds a record, or what is left of one."""
    return any((path / name).is_file() for name in RECORD_FILES)


def find_records(path: str | Path) -> list[Path]:
    """Return the records at `path`: itself, or the directories in it that hold one, by name and number.

    A directory that holds only part of a record counts, so that `load_record` can say what it lacks. One
    iteration of a run (`runs/mine@0`) is one record.

    Raises:
        RecordError: if there is no such directory, or it cannot be read.
    """
    path = Path(path)
    try:
        if is_record(split_iteration(path)[0]):
            return [path]
        inside = [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
        return sorted(filter(is_record, inside), key=_natural_order)
    except OSError as error:
        raise RecordError(f"no run at '{path}': {error.strerror or error}; {_HINT}") from error


def _natural_order(path: Path) -> tuple[str, int, str]:
    stem, _, number = path.name.rpartition("-")
    return (stem, int(number), "") if number.isdecimal() else (path.name, -1, "")


def _read_head(path: Path) -> dict[str, Any]:
    if not path.is_dir() or not is_record(path):
        raise RecordError(f"no record at '{path}': expected a directory with {METADATA_FILE}; {_HINT}")
    try:
        head = json.loads(_read(path, METADATA_FILE))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"{METADATA_FILE} is not JSON ({error})") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise _damaged(path, f"{METADATA_FILE} does not say that it is a {FORMAT}")
    version = head.get("schema_version")
    if not isinstance(version, int):
        raise _damaged(path, f"{METADATA_FILE} has no schema version")
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"the record '{path}' has schema version {version}, and this gradflow reads up to "
            f"{SCHEMA_VERSION}: upgrade it with `pip install -U gradflow`"
        )
    meta, tables = head.get("meta"), head.get("tables")
    if not isinstance(meta, dict) or not isinstance(tables, dict):
        raise _damaged(path, f"{METADATA_FILE} lacks its metadata or its list of tables")
    if head.get("meta_sha256") != _meta_digest(meta):
        raise _damaged(path, f"the metadata in {METADATA_FILE} was changed after it was written")
    try:
        validate_meta(meta)
    except RecordError as error:
        raise _damaged(path, str(error)) from error
    return head


def _read_table(path: Path, table: str, head: dict[str, Any]) -> pd.DataFrame:
    entry = head["tables"].get(table)
    if entry is None and table not in ALWAYS_WRITTEN:
        return empty(table)
    if not isinstance(entry, dict):
        raise _damaged(path, f"{METADATA_FILE} does not list the table '{table}'")
    name = entry.get("file")
    if not isinstance(name, str) or Path(name).name != name:
        raise _damaged(path, f"{METADATA_FILE} does not say which file holds the table '{table}'")
    content = _read(path, name)
    if sha256(content) != entry.get("sha256"):
        raise _damaged(path, f"{name} is not the file that was written (its digest differs)")
    try:
        arrow = pq.ParquetFile(io.BytesIO(content)).read()
        frame = conform(table, arrow.to_pandas(types_mapper=_PANDAS_TYPES.get))
    except (pa.ArrowException, OSError, ValueError, TypeError, RecordError) as error:
        raise _damaged(path, f"{name} cannot be read ({_first_line(error)})") from error
    if table == "units":
        try:
            validate_units(frame)
        except RecordError as error:
            raise _damaged(path, str(error)) from error
    return frame


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        raise _damaged(path, f"{name} is missing") from error
    except OSError as error:
        raise RecordError(f"cannot read '{path / name}': {error.strerror or error}") from error


def _damaged(path: Path, what: str) -> RecordError:
    return RecordError(f"the record '{path}' is damaged: {what}; measure again, or leave it out")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _meta_digest(meta: dict[str, Any]) -> str:
    return sha256(json.dumps(meta, sort_keys=True, ensure_ascii=False).encode())


def _to_parquet(table: str, frame: pd.DataFrame) -> bytes:
    schema = pa.schema([(column.name, _ARROW_TYPES[column.kind]) for column in TABLES[table]])
    sink = io.BytesIO()
    arrow = pa.Table.from_pandas(conform(table, frame), schema=schema, preserve_index=False)
    pq.write_table(arrow.replace_schema_metadata(), sink, compression="zstd")
    return sink.getvalue()
