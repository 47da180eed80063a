"""One iteration of a training run's record, named behind its directory: `runs/mine@0`, `runs/mine@last`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gradflow.errors import RecordError
from gradflow.record.container import Record
from gradflow.record.schema import TABLES, empty

_SELECTED = re.compile(r"(?P<folder>.+)@(?P<iteration>first|last|\d{1,18})")


def split_iteration(path: Path) -> tuple[Path, str | None]:
    """Return the run's directory and which iteration is meant: a number, `first`, `last`, or all if None.

    A directory whose own name ends so is itself meant.
    """
    found = _SELECTED.fullmatch(path.name)
    if found is None or path.exists():
        return path, None
    return path.with_name(found["folder"]), found["iteration"]


def at_iteration(record: Record, which: str, path: Path) -> Record:
    """Return what `record` holds of one iteration, as if it had been measured alone.

    Of a training run the loss of an earlier probe and the file of its weights are not kept; metadata say so.

    Args:
        record: the whole record.
        which: a number, `first` or `last`.
        path: the run's directory, for errors.

    Raises:
        RecordError: if nothing was measured at that iteration.
    """
    iterations = sorted(record.units["iteration"].fillna(0).astype(int).unique().tolist())
    named = {"first": iterations[:1], "last": iterations[-1:]}
    chosen = named[which] if which in named else [one for one in iterations if one == int(which)]
    if not chosen:
        raise RecordError(f"'{path}' was not probed at iteration {which}; {_probed(iterations)}")
    (iteration,) = chosen
    if len(iterations) == 1:
        return record
    tables: dict[str, Any] = {table: _rows(getattr(record, table), iteration) for table in TABLES}
    # Steps are the way, not a place on it: a run that has some is drawn as a training run.
    tables["steps"] = empty("steps")
    return replace(record, **tables, meta=_meta(record.meta, iteration, iterations[-1]))


def _probed(iterations: list[int]) -> str:
    if not iterations:
        return "it holds no units"
    few = ", ".join(map(str, iterations[:6])) + (f", … {iterations[-1]}" if len(iterations) > 6 else "")
    return f"it was at {few}; or take @first or @last"


def _rows(table: pd.DataFrame, iteration: int) -> pd.DataFrame:
    chosen: pd.DataFrame = table[table["iteration"].fillna(0) == iteration]
    return chosen.reset_index(drop=True)


def _meta(meta: dict[str, Any], iteration: int, last: int) -> dict[str, Any]:
    note = f"Of a run that was measured up to iteration {last:,}, this is iteration {iteration:,}."
    kept = meta["checkpoint"]
    if kept is not None and kept.get("iteration") == iteration:
        return meta | {"notes": [*meta["notes"], note]}
    untrained = iteration == 0 and "training" in meta
    return meta | {
        "checkpoint": None if untrained else {"name": None, "sha256": None, "iteration": iteration},
        "loss": meta["loss"] | {"value": None},
        "notes": [*meta["notes"], f"{note} The loss of that probe was not kept."],
    }
