"""The record of a run while it grows: one table of each kind, a row more with every step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gradflow.errors import RecordError, TrainingError
from gradflow.record import Meta, Record, conform, load_record, stack
from gradflow.record.storage import METADATA_FILE, rewrite_record
from gradflow.training.checkpoints import FOLDER, NEWEST
from gradflow.training.numbers import Row

MEASURED = ("units", "parameters", "checks")


class History:
    """What was recorded so far, in memory; `write` puts it into the run's directory.

    Args:
        seed: of the run; a key of every row.
        iteration: rows of later iterations are left out: they are to be made again.
        earlier: the record of an interrupted run, or None.
    """

    def __init__(self, seed: int, iteration: int = 0, earlier: Record | None = None) -> None:
        self._seed = seed
        self._frames: dict[str, list[pd.DataFrame]] = defaultdict(list)
        self._steps: dict[int, Row] = {}
        self.meta: Meta = {} if earlier is None else dict(earlier.meta)
        if earlier is None:
            return
        for table in MEASURED:
            frame = getattr(earlier, table)
            self._frames[table].append(frame[frame["iteration"] <= iteration].reset_index(drop=True))
        steps = earlier.steps[earlier.steps["iteration"] <= iteration].astype(object)
        rows: list[Row] = steps.to_dict("records")  # type: ignore[assignment] # columns are named by str
        self._steps = {int(row["iteration"]): row for row in rows}

    def add_steps(self, rows: Sequence[Row]) -> None:
        """Add rows of the table `steps`."""
        for row in rows:
            self._steps[row["iteration"]] = {"seed": self._seed, "batch_index": 0, **row}

    def cut(self, iteration: int) -> None:
        """Leave out what was recorded of later iterations than this."""
        for table, frames in self._frames.items():
            self._frames[table] = [frame[frame["iteration"] <= iteration] for frame in frames]
        self._steps = {key: row for key, row in self._steps.items() if key <= iteration}

    def add_test(self, iteration: int, loss: float, error: float) -> None:
        """Add what the test data said after an iteration, whose row is there already."""
        self._steps[iteration] |= {"test_loss": loss, "test_error": error}

    def add_record(self, record: Record) -> None:
        """Add what was measured at one iteration; the run's metadata are the latest one's."""
        for table in MEASURED:
            frame = getattr(record, table)
            if len(frame):
                self._frames[table].append(frame)
        self.meta = {**record.meta, "created": self.meta.get("created", record.meta["created"])}

    def record(self, **meta: Any) -> Record:
        """Return everything so far as one record, its metadata updated by `meta`."""
        tables = {}
        for table in MEASURED:
            tables[table] = stack(table, self._frames[table])
            self._frames[table] = [tables[table]]  # what is stacked need not be stacked again
        tables["steps"] = conform("steps", pd.DataFrame(list(self._steps.values())))
        return Record(**tables, meta=self.meta | meta)

    def write(self, out: Path, **meta: Any) -> None:
        """Write everything so far into the directory `out`, whole or not at all.

        Without a measurement there is nothing to say what the record is about, and none is written.
        """
        if not self.meta:
            return
        rewrite_record(self.record(**meta), out)


def read_history(out: Path, seed: int, iteration: int, *, recorded: bool) -> History:
    """Read a run's record back, cut to `iteration`.

    Args:
        out: the run's directory.
        seed: of the run.
        iteration: of its newest checkpoint.
        recorded: whether there was a record when that checkpoint was written.

    Raises:
        TrainingError: if it is missing, damaged or behind the checkpoint, so that the run's tables
            cannot be continued.
    """
    if not recorded and not (out / METADATA_FILE).exists():
        return History(seed)
    try:
        earlier = load_record(out)
    except RecordError as error:
        raise TrainingError(f"the run cannot be resumed: {error}") from error
    reached = earlier.meta.get("training", {}).get("iteration", 0)
    if reached < iteration:
        raise TrainingError(
            f"the run cannot be resumed: its record ends at iteration {reached:,}, and the checkpoint is of "
            f"iteration {iteration:,}; between them rows would be missing"
        )
    return History(seed, iteration, earlier)


def left_before_checkpoint(out: Path) -> bool:
    """Whether `out` holds the record of a run that was killed before its first checkpoint, and no more.

    Such a record has nothing to lose: the run may begin anew over it.
    """
    if not (out / METADATA_FILE).exists() or (out / FOLDER / NEWEST).exists():
        return False
    try:
        training = load_record(out).meta.get("training")
    except RecordError:
        return False
    return training is not None and training["iteration"] == 0


def require_run(out: Path) -> None:
    """Check that there is a run in `out` to be resumed, before anything is made there.

    Raises:
        TrainingError: if there is no checkpoint.
    """
    if not (out / FOLDER / NEWEST).exists():
        require_no_record(out)
        raise TrainingError(
            f"there is no run to resume in '{out}', which holds no {FOLDER}/{NEWEST}; look at --out, or "
            "begin a run there without --resume"
        )


def require_no_record(out: Path) -> None:
    """Check that a run that begins in `out` would not overwrite a record.

    What a run that was killed before its first checkpoint has left is none.

    Raises:
        TrainingError: if a record is there that has something to lose, or that cannot be read.
    """
    if not (out / METADATA_FILE).exists():
        return
    try:
        training = load_record(out).meta.get("training")
    except RecordError as error:
        raise TrainingError(f"no run can begin in '{out}': {error}") from error
    if training is None or training["iteration"] > 0:
        raise TrainingError(
            f"'{out}' holds a record but no checkpoint of a run to go on with, and is kept; "
            "choose another --out"
        )
