"""One iteration of a training run's record: what is left of it, what it says, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from _records import make_record

from gradflow.errors import RecordError
from gradflow.record import Record, find_records, load_record, validate_meta

CHECKPOINT = {"name": "newest.pt", "sha256": "ab" * 32, "iteration": 40}


def training_run(path: Path, **meta: Any) -> Path:
    """Save a run that was probed at iterations 0, 20 and 40, with steps in between."""
    records = [make_record(stages=(2, 2), iteration=iteration) for iteration in (0, 20, 40)]
    run = Record.concat(records)
    run.steps = pd.DataFrame({"iteration": [1, 2], "loss": [2.0, 1.0], "learning_rate": 0.1})
    run.meta |= {"checkpoint": CHECKPOINT, "training": {"iteration": 40}} | meta
    Record(
        units=run.units, parameters=run.parameters, checks=run.checks, steps=run.steps, meta=run.meta
    ).save(path)
    return path


@pytest.mark.parametrize(
    ("which", "iteration", "checkpoint"),
    [
        ("first", 0, None),
        ("0", 0, None),
        ("20", 20, {"name": None, "sha256": None, "iteration": 20}),
        ("40", 40, CHECKPOINT),
        ("last", 40, CHECKPOINT),
    ],
)
def test_an_iteration_is_a_record_of_its_own(
    which: str, iteration: int, checkpoint: dict[str, Any] | None, tmp_path: Path
) -> None:
    """Its rows are the run's of that iteration, and its weights are called what they were then."""
    run = training_run(tmp_path / "run")
    whole, part = load_record(run), load_record(f"{run}@{which}")
    rows = whole.units[whole.units["iteration"] == iteration].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.units, rows)
    assert part.checks["iteration"].unique().tolist() == [iteration]
    assert part.steps.empty
    assert part.meta["checkpoint"] == checkpoint
    assert (part.meta["loss"]["value"] is None) == (checkpoint != CHECKPOINT)
    assert f"this is iteration {iteration}" in part.meta["notes"][-1]
    validate_meta(part.meta)
    part.save(tmp_path / "part")


def test_what_was_not_measured_is_refused_with_what_was(tmp_path: Path) -> None:
    """In one line, with the iterations that there are."""
    run = training_run(tmp_path / "run")
    with pytest.raises(RecordError, match=r"not probed at iteration 30; it was at 0, 20, 40; or take @first"):
        load_record(f"{run}@30")
    with pytest.raises(RecordError, match="no record at"):
        load_record(f"{run}@soon")


def test_a_directory_of_that_name_is_meant_itself(tmp_path: Path) -> None:
    """Whoever has an @ in a run's name gets that run."""
    training_run(tmp_path / "run")
    make_record(stages=(3,)).save(tmp_path / "run@20")
    assert len(load_record(tmp_path / "run@20").units) == 3
    assert len(load_record(tmp_path / "run@0").units) == 4
    assert find_records(tmp_path / "run@0") == [tmp_path / "run@0"]


def test_a_record_of_one_measurement_is_its_first_and_last(tmp_path: Path) -> None:
    """There is nothing to leave out, and its metadata stay."""
    make_record(stages=(3,)).save(tmp_path / "run")
    for which in ("first", "last", "0"):
        assert load_record(tmp_path / f"run@{which}").meta == load_record(tmp_path / "run").meta
