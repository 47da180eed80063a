"""CSV: what a recorder measures, as tables that any program reads."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gradflow.errors import RecordError
from gradflow.record import Record, conform
from gradflow.record.files import explained, write_file

TABLES = ("units", "parameters", "steps")
"""The record's tables that are written, each to a file of its name."""


class CsvLogger:
    """Appends each measurement of a `gradflow.Recorder` to `units.csv`, `parameters.csv` and `steps.csv`.

    The columns are those of the record; null is an empty cell. A measurement is on disk when the step that
    was measured ends, so a run that is killed has all of its measurements but the one at hand.

    Args:
        folder: where the files go; it is made.
        iteration: optimiser steps done, in a run that is resumed: later rows are taken away.

    Raises:
        RecordError: if there are files already and `iteration` is 0, they are no such tables, or the
            operating system refuses to write.
    """

    def __init__(self, folder: str | Path, *, iteration: int = 0) -> None:
        self._folder = Path(folder)
        with explained(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        existing = [table for table in TABLES if self._file(table).exists()]
        if existing and iteration == 0:
            raise RecordError(
                f"'{self._file(existing[0])}' exists and was kept: choose another folder, or say with "
                "iteration= at which step the run is resumed"
            )
        for table in existing:
            self._cut(table, iteration)

    def measured(self, iteration: int, record: Record) -> None:
        """Append the rows of one measurement, and a new file's header."""
        with explained(self._folder):
            for table in TABLES:
                path = self._file(table)
                begun = path.exists()
                with path.open("a", encoding="utf-8", newline="") as file:
                    getattr(record, table).to_csv(file, index=False, header=not begun, lineterminator="\n")

    def close(self) -> None:
        """Do nothing: every measurement is written when it comes."""

    def _file(self, table: str) -> Path:
        return self._folder / f"{table}.csv"

    def _cut(self, table: str, iteration: int) -> None:
        """Leave the rows of iterations before `iteration`.

        Raises:
            RecordError: if the file does not hold the record's table.
        """
        path = self._file(table)
        columns = list(conform(table, pd.DataFrame()))
        try:
            # As text, so that what is kept is kept to the letter.
            rows = pd.read_csv(path, dtype=str, keep_default_na=False)
            kept = rows[rows["iteration"].astype(int) < iteration]
        except (ValueError, KeyError, OSError) as error:
            raise RecordError(f"'{path}' cannot be continued: it is not a table of a recording") from error
        if list(rows) != columns:
            raise RecordError(f"'{path}' cannot be continued: its columns are not those of table '{table}'")
        with explained(path):
            write_file(path, kept.to_csv(index=False, lineterminator="\n").encode())
