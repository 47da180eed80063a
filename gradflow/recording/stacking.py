"""One record of what was measured at many iterations of one training run."""

from __future__ import annotations

from gradflow.record import Record, stack
from gradflow.record.merging import distinct

_TABLES = ("units", "parameters", "steps")


class Stack:
    """The records of a run's measured iterations, as one.

    Unlike `Record.concat` it takes batches of several sizes, as a loop's last one often is: the table
    `units` says each row's own, the metadata those of the last record.
    """

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._created = ""
        self._sizes: set[int] = set()
        self._notes: list[str] = []

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record) -> None:
        """Add what was measured at one iteration."""
        self._created = self._created or record.meta["created"]
        self._sizes.add(record.meta["batch_size"])
        self._records.append(record)

    def note(self, note: str) -> None:
        """Add what a reader needs to know of the run, whatever is measured in it."""
        self._notes.append(note)

    def whole(self) -> Record:
        """Return everything so far; there must be something."""
        if len(self._records) > 1 or self._notes:
            self._records = [self._stacked()]  # what is stacked need not be stacked again
            self._notes.clear()
        return self._records[0]

    def _stacked(self) -> Record:
        records = self._records
        tables = {name: stack(name, [getattr(record, name) for record in records]) for name in _TABLES}
        notes = distinct([*(note for record in records for note in record.meta["notes"]), *self._notes])
        if len(self._sizes) > 1:
            sizes = f"batches had {min(self._sizes)} to {max(self._sizes)} samples; the units' rows say which"
            notes = [*(note for note in notes if not note.startswith("batches had ")), sizes]
        skipped = distinct(item for record in records for item in record.meta["skipped"])
        meta = {**records[-1].meta, "created": self._created, "notes": notes, "skipped": skipped}
        return Record(**tables, meta=meta)
