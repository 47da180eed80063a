"""Loggers of a recorder, each read back with a reader that is not gradflow's."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn import functional as F

import gradflow
from gradflow.errors import RecordError
from gradflow.integrations.csv import CsvLogger
from gradflow.integrations.tensorboard import TensorBoardLogger
from gradflow.recording import Logger


def record(*loggers: Logger, steps: int, iteration: int = 0, every: int = 2) -> gradflow.Record:
    """Train a network of three units for some steps, and return what was recorded."""
    model = seeded(Chain)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.Recorder(model, every=every, iteration=iteration, loggers=loggers) as recorder:
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(rows()), labels()).backward()
            optimizer.step()
            recorder.step()
    return recorder.record


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_what_was_measured(tmp_path: Path) -> None:
    """Each table's rows are the record's, digit for digit, under one header; null is empty."""
    recorded = record(CsvLogger(tmp_path / "log"), steps=5)
    for table in ("units", "parameters", "steps"):
        frame = getattr(recorded, table)
        written = read(tmp_path / "log" / f"{table}.csv")
        assert [row["iteration"] for row in written] == [str(value) for value in frame["iteration"]]
        assert list(written[0]) == list(frame)
    written = read(tmp_path / "log/units.csv")
    assert [float(row["grad_in_norm"]) for row in written] == recorded.units["grad_in_norm"].tolist()
    assert [row["seed"] for row in written] == [""] * 9
    assert [row["iteration"] for row in written] == ["0"] * 3 + ["2"] * 3 + ["4"] * 3


def test_csv_of_a_resumed_run_is_continued(tmp_path: Path) -> None:
    """Rows from the step on at which it is resumed are replaced, those before it stay to the letter."""
    record(CsvLogger(tmp_path), steps=7)
    before = (tmp_path / "units.csv").read_text(encoding="utf-8").splitlines()
    assert [row["iteration"] for row in read(tmp_path / "steps.csv")] == ["0", "2", "4", "6"]
    record(CsvLogger(tmp_path, iteration=4), steps=5, iteration=4)
    assert [row["iteration"] for row in read(tmp_path / "steps.csv")] == ["0", "2", "4", "6", "8"]
    after = (tmp_path / "units.csv").read_text(encoding="utf-8").splitlines()
    assert after[:7] == before[:7]  # header, iterations 0 and 2
    assert len(after) == 1 + 5 * 3


def test_csv_files_are_never_overwritten(tmp_path: Path) -> None:
    """A new run keeps off files that are there, and a resumed one off files that are not its own."""
    record(CsvLogger(tmp_path), steps=1)
    kept = (tmp_path / "units.csv").read_bytes()
    with pytest.raises(RecordError, match=r"units.csv' exists and was kept: choose another folder"):
        CsvLogger(tmp_path)
    (tmp_path / "parameters.csv").write_text("iteration,weight\n3,5\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"parameters.csv' cannot be continued: its columns are not those"):
        CsvLogger(tmp_path, iteration=2)
    (tmp_path / "parameters.csv").write_text("hello\nthere\n", encoding="utf-8")
    with pytest.raises(RecordError, match=r"parameters.csv' cannot be continued: it is not a table"):
        CsvLogger(tmp_path, iteration=2)
    assert (tmp_path / "units.csv").read_bytes() == kept
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="a file stands where a directory is needed"):
        CsvLogger(tmp_path / "file")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_holds_what_was_measured(tmp_path: Path) -> None:
    """Scalars of each measurement, figures of the first and the last; a resumed run replaces its own."""
    recorded = record(TensorBoardLogger(tmp_path), steps=7)
    events = EventAccumulator(str(tmp_path)).Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == [0, 2, 4, 6]
    assert [event.value for event in losses] == pytest.approx(recorded.steps["loss"].tolist())
    norms = [event.value for event in events.Scalars("train/gradient norm")]
    assert norms == pytest.approx(recorded.steps["param_grad_norm"].tolist())
    first = recorded.units[recorded.units["iteration"] == 0]["grad_in_norm"]
    ratio = events.Scalars("gradient flow/first unit over last")[0].value
    assert ratio == pytest.approx(first.iloc[0] / first.iloc[-1])
    assert [figure.step for figure in events.Images("gradient norm by depth")] == [0, 6]
    assert "train/error" not in events.Tags()["scalars"]
    record(TensorBoardLogger(tmp_path, iteration=4), steps=1, iteration=4)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [0, 2, 4]


def test_loggers_are_closed_and_the_record_saved_although_one_cannot_write(tmp_path: Path) -> None:
    """A logger that fails at the end does not keep the others, or the record, from it."""

    class Failing(CsvLogger):
        def close(self) -> None:
            raise RecordError("the disk is full")

    class Closing(CsvLogger):
        closed = False

        def close(self) -> None:
            self.closed = True

    closing = Closing(tmp_path / "a"), Closing(tmp_path / "b")
    loggers = (closing[0], Failing(tmp_path / "c"), closing[1])

    def train() -> None:
        model = seeded(Chain)
        with gradflow.Recorder(model, every=1, loggers=loggers, out=tmp_path / "run") as recorder:
            F.cross_entropy(model(rows()), labels()).backward()
            recorder.step()

    with pytest.raises(RecordError, match="the disk is full"):
        train()
    assert [logger.closed for logger in closing] == [True, True]
    assert len(gradflow.load_record(tmp_path / "run").units) == 3
