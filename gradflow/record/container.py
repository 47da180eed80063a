"""`Record`: what one measurement found, in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradflow.errors import RecordError
from gradflow.record.merging import merge_meta
from gradflow.record.metadata import Meta, as_json
from gradflow.record.schema import (
    ALWAYS_WRITTEN,
    KEYS,
    SCHEMA_VERSION,
    TABLES,
    conform,
    empty,
    from_columns,
    stack,
)

_KEYS = [key.name for key in KEYS]


@dataclass(eq=False)
class Record:
    """What one measurement found: its tables, and what was measured.

    The tables have the columns of `gradflow.record.schema` and the metadata the keys of
    `gradflow.record.metadata`. Norms that are not finite are kept as they came; in JSON they are null.

    Attributes:
        units: one row a residual unit (and iteration, seed and batch).
        parameters: one row a parameter tensor.
        checks: one row an equation and span.
        steps: one row a forward and backward pass.
        jacobians: one row a Jacobian (`gradflow.singular_values`).
        singular_values: one row a singular value, likewise.
        paths: one row a length of path (`gradflow.path_gradients`).
        lesions: one row a lesion (`gradflow.lesion`).
        meta: what was measured, and how.
    """

    units: pd.DataFrame = field(default_factory=lambda: empty("units"))
    parameters: pd.DataFrame = field(default_factory=lambda: empty("parameters"))
    checks: pd.DataFrame = field(default_factory=lambda: empty("checks"))
    steps: pd.DataFrame = field(default_factory=lambda: empty("steps"))
    jacobians: pd.DataFrame = field(default_factory=lambda: empty("jacobians"))
    singular_values: pd.DataFrame = field(default_factory=lambda: empty("singular_values"))
    paths: pd.DataFrame = field(default_factory=lambda: empty("paths"))
    lesions: pd.DataFrame = field(default_factory=lambda: empty("lesions"))
    meta: Meta = field(default_factory=dict)

    def __post_init__(self) -> None:
        for table in TABLES:
            setattr(self, table, conform(table, getattr(self, table)))

    @classmethod
    def from_columns(
        cls, tables: Mapping[str, Mapping[str, Any]], keys: Mapping[str, Any], meta: Meta
    ) -> Record:
        """Return the record of one measurement.

        Its tables are made with the schema's types, so they are not looked at again, as those that come
        from elsewhere are.

        Args:
            tables: columns by table, as `gradflow.record.schema.from_columns` takes them.
            keys: iteration, seed and batch.
            meta: what was measured, and how.
        """
        record = cls.__new__(cls)
        for table in TABLES:
            found = from_columns(table, tables[table], keys) if table in tables else empty(table)
            setattr(record, table, found)
        record.meta = meta
        return record

    def __repr__(self) -> str:
        rows = ", ".join(f"{len(getattr(self, table))} {table.replace('_', ' ')}" for table in self.written)
        return f"Record({self.meta.get('model', {}).get('name', 'no model')}: {rows})"

    @property
    def written(self) -> tuple[str, ...]:
        """The tables that are kept on disk: the usual ones, and of the others those with a row."""
        return tuple(table for table in TABLES if table in ALWAYS_WRITTEN or len(getattr(self, table)))

    @property
    def keys(self) -> dict[str, Any]:
        """Iteration, seed and batch of a record of one measurement, for rows that are added to it."""
        return {name: self.units[name].iloc[0] for name in _KEYS}

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write the record to the directory `path`, whole or not at all.

        Args:
            path: the directory; it is made, its parents too.
            force: replace a record that is there, after the new one is complete. What is not a
                record is never replaced.

        Raises:
            RecordError: if `path` exists and `force` is not given, it cannot be written, or the metadata or
                the units' numbers are not valid.
        """
        from gradflow.record.storage import write_record

        write_record(self, Path(path), force=force)

    def to_json(self) -> dict[str, Any]:
        """Return the record as what `json` can hold: null, never NaN or infinity.

        Returns:
            `{"schema_version": …, "meta": {…}, "units": [{column: value, …}, …], "parameters": […],
            "checks": […]}`, and of the tables that a record need not have those with a row.
        """
        tables = [table for table in self.written if table != "steps"]
        return {
            "schema_version": SCHEMA_VERSION,
            "meta": as_json(self.meta),
            **{table: _rows(getattr(self, table)) for table in tables},
        }

    @staticmethod
    def concat(records: Sequence[Record]) -> Record:
        """Stack the tables of records of one network: other seeds, batches or iterations.

        Args:
            records: at least one; of the same model, data, batch size, loss, BN mode, dtype and device.

        Raises:
            RecordError: if there is none, two were measured differently, or two hold the same
                iteration, seed and batch, which would count one measurement twice.
        """
        if not records:
            raise RecordError("no record to stack: give at least one")
        for table in ("units", "parameters", "steps", "jacobians", "paths", "lesions"):
            _refuse_repeated([getattr(record, table) for record in records])
        tables = {table: stack(table, [getattr(record, table) for record in records]) for table in TABLES}
        meta = merge_meta([record.meta for record in records])
        if batches := tables["units"]["batch_index"].nunique():
            meta["batches"] = batches
        return Record(**tables, meta=meta)


def _refuse_repeated(frames: list[pd.DataFrame]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for frame in frames:
        keys = set(frame[_KEYS].drop_duplicates().itertuples(index=False, name=None))
        if repeated := seen & keys:
            iteration, seed, batch = min(repeated, key=str)
            raise RecordError(
                f"two of the records hold iteration {iteration}, seed {seed}, batch {batch}: "
                "stacking them would count one measurement twice"
            )
        seen |= keys


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    columns = {
        str(name): (
            [value if math.isfinite(value) else None for value in column.to_numpy(np.float64).tolist()]
            if column.dtype == np.float64
            else column.astype(object).where(column.notna(), None).tolist()
        )
        for name, column in frame.items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
