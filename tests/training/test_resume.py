"""Interrupted at any moment and resumed: the same bits as without. Only one job writes to a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from _runs import run, same_bits, short_plan, small_model, write_images
from torch import nn

import gradflow
from gradflow.checkpoint import load_checkpoint, load_into
from gradflow.errors import TrainingError
from gradflow.record import TABLES, Record, load_record
from gradflow.training import checkpoints, history
from gradflow.training.checkpoints import NEWEST, read_newest, require_same_run
from gradflow.training.directory import locked
from gradflow.training.history import read_history

OPTIONS = (
    *("train", "--model", "preact8", "--width", "4", "--recipe", "he2016-short", "--iterations", "24"),
    *(
        "--input-shape",
        "3,8,8",
        "--batch-size",
        "16",
        "--probe-batch-size",
        "8",
        "--probe-every",
        "4",
        "--check-every",
        "12",
        "--test-every",
        "8",
    ),
    *("--checkpoint-every", "4", "--shortcut", "dropout:0.5", "--quiet"),
)
"""A run that draws random numbers in its data and in its network."""


def options(out: Path) -> list[str]:
    """Return the command line of a run in `out` on the images beside it."""
    return [*OPTIONS, f"--data=folder:{out.parent}", f"--out={out}"]


def start(out: Path, *more: str) -> subprocess.Popen[bytes]:
    """Start a process that trains into `out` and says what it has to say to `said(out)`."""
    environment = {"PYTHONPATH": str(Path(gradflow.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with said(out).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gradflow", *options(out), *more],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def said(out: Path) -> Path:
    """Return the file with the standard error of the processes that trained into `out`."""
    return out.with_suffix(".log")


def iteration_on_disk(out: Path) -> int:
    """Return the iteration that the record on disk is of; −1 if there is none yet."""
    try:
        return int(json.loads((out / "record.json").read_bytes())["meta"]["training"]["iteration"])
    except FileNotFoundError:
        return -1


def assert_same_run(first: Path, second: Path) -> None:
    """Two runs have the same checkpoint and the same tables, bit for bit."""
    states = [torch.load(out / "checkpoints" / NEWEST) for out in (first, second)]
    assert_equal(*states)
    records = [load_record(out) for out in (first, second)]
    for table in TABLES:
        pd.testing.assert_frame_equal(*(getattr(one, table) for one in records), check_exact=True)


def assert_equal(first: Any, second: Any) -> None:
    """Two nested values are equal, their tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, Sequence) and not isinstance(first, str):
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second


def test_killed_and_resumed_is_bit_identical(tmp_path: Path) -> None:
    """Killed with SIGKILL and resumed, a process ends with checkpoint and tables of one that ran through."""
    write_images(tmp_path)
    whole, killed = start(tmp_path / "whole"), start(tmp_path / "killed")
    deadline = time.monotonic() + 240
    while iteration_on_disk(tmp_path / "killed") < 8 and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL, said(tmp_path / "killed").read_text()
    assert 8 <= iteration_on_disk(tmp_path / "killed") < 24
    resumed = start(tmp_path / "killed", "--resume")
    assert whole.wait(240) == 0, said(tmp_path / "whole").read_text()
    assert resumed.wait(240) == 0, said(tmp_path / "killed").read_text()
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def probing(iteration: int, model: nn.Module) -> Record | None:
    """Probe every third iteration."""
    if iteration % 3:
        return None
    inputs = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    meta = {"checkpoint": {"name": "in training", "sha256": None, "iteration": iteration}, "seeds": [3]}
    return gradflow.probe(model, inputs, torch.arange(6) % 4, meta=meta)


class _KilledError(BaseException):
    """Stands for the end of a process."""


@pytest.mark.parametrize("moment", ["before the record", "before the checkpoint", "after the checkpoint"])
def test_whatever_was_being_written(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended between any two files of a checkpoint at iteration 8, a run resumes to the same bits."""
    run(tmp_path / "whole", on_step=probing)

    def end(*arguments: Any, **options: Any) -> None:
        raise _KilledError("killed")

    def at_8(iteration: int, model: nn.Module) -> Record | None:
        if iteration == 8:
            if moment == "before the record":
                monkeypatch.setattr(history, "rewrite_record", end)
            if moment == "before the checkpoint":
                monkeypatch.setattr(checkpoints, "write_checkpoint", end)
        if iteration == 9:
            raise _KilledError("killed")
        return probing(iteration, model)

    with pytest.raises(_KilledError, match="killed"):
        run(tmp_path / "ended", on_step=at_8)
    monkeypatch.undo()
    run(tmp_path / "ended", on_step=probing, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "ended")


def test_tables_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    """Rows of iterations after the newest checkpoint are made again, not kept twice."""
    run(tmp_path / "whole", on_step=probing)
    folder = tmp_path / "early/checkpoints"
    run(tmp_path / "early", on_step=probing, should_stop=iter([False] * 3 + [True] * 99).__next__)
    early = (folder / NEWEST).read_bytes()
    shutil.copytree(tmp_path / "whole", tmp_path / "back")
    (tmp_path / "back/checkpoints" / NEWEST).write_bytes(early)
    _, outcome = run(tmp_path / "back", on_step=probing, resume=True)
    assert outcome.finished
    assert_same_run(tmp_path / "whole", tmp_path / "back")


def test_newest_and_best_are_kept(tmp_path: Path) -> None:
    """The best weights are those of the least test error so far; both files load as any checkpoint does."""
    model, outcome = run(tmp_path / "run", on_step=probing)
    steps = load_record(tmp_path / "run").steps
    best = load_checkpoint(tmp_path / "run/checkpoints/best.pt")
    least = steps["test_error"].min()
    assert outcome.best_error == least
    assert best.iteration == steps.loc[steps["test_error"] == least, "iteration"].iloc[0]
    newest = load_checkpoint(tmp_path / "run/checkpoints/newest.pt")
    assert newest.iteration == 12
    assert newest.data is not None
    assert newest.data["name"] == "some images"
    again = gradflow.build_model("preact8", width=4, num_classes=4, seed=9)
    load_into(again, newest)
    assert same_bits(again, model)
    assert load_record(tmp_path / "run").meta["checkpoint"]["sha256"] == newest.sha256


def test_the_record_reaches_as_far_as_the_best_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that ends as soon as its best weights are written can go on from them, and no row is missing."""
    write = checkpoints.write_checkpoint

    def ends_with_best(out: Path, name: str, content: bytes) -> None:
        write(out, name, content)
        if name == "best.pt":
            raise _KilledError

    monkeypatch.setattr(checkpoints, "write_checkpoint", ends_with_best)
    out = tmp_path / "run"
    with pytest.raises(_KilledError, match=r"^$"):
        run(out, on_step=probing)
    monkeypatch.undo()
    best = (out / "checkpoints/best.pt").read_bytes()
    reached = load_checkpoint(out / "checkpoints/best.pt").iteration
    (out / "checkpoints/newest.pt").write_bytes(best)
    run(out, on_step=probing, resume=True)
    assert load_record(out).steps["iteration"].tolist() == list(range(1, 13))
    assert reached is not None
    assert 0 < reached < 13


def test_a_record_behind_its_checkpoint_is_refused(tmp_path: Path) -> None:
    """Rows between the two would be missing."""
    run(tmp_path / "run", on_step=probing)
    with pytest.raises(TrainingError, match="record ends at iteration 12"):
        read_history(tmp_path / "run", 0, 13, recorded=True)


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    """Another recipe or seed than the checkpoint's is refused, naming what differs; nothing changes."""
    run(tmp_path / "run", on_step=probing, should_stop=lambda: True)
    before = (tmp_path / "run/checkpoints" / NEWEST).read_bytes()
    for plan, difference in (
        (short_plan(learning_rate=0.2), "learning-rate was 0.1 and is 0.2"),
        (replace(short_plan(), seed=4), "seed was 3 and is 4"),
        (replace(short_plan(), details={"model": "resnet8"}), "model was not said and is resnet8"),
    ):
        with pytest.raises(TrainingError, match=difference):
            run(tmp_path / "run", plan, on_step=probing, resume=True)
    state = read_newest(tmp_path / "run")
    assert state is not None
    with pytest.raises(TrainingError, match="processes was 1 and is 2"):
        require_same_run(state, short_plan().identity(processes=2), tmp_path / "run")
    with pytest.raises(TrainingError, match="holds a run already; continue it with --resume"):
        run(tmp_path / "run", on_step=probing)
    assert (tmp_path / "run/checkpoints" / NEWEST).read_bytes() == before


def test_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """A checkpoint that is cut off, or another program's, is refused in one line."""
    run(tmp_path / "run", on_step=probing, should_stop=lambda: True)
    newest = tmp_path / "run/checkpoints" / NEWEST
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="is damaged"):
        run(tmp_path / "run", on_step=probing, resume=True)
    torch.save({"model": {}}, newest)
    with pytest.raises(TrainingError, match="is no checkpoint of a training run"):
        run(tmp_path / "run", on_step=probing, resume=True)


def test_damaged_record_is_refused(tmp_path: Path) -> None:
    """Tables that were changed since cannot be continued, and are not thrown away."""
    run(tmp_path / "run", on_step=probing, should_stop=lambda: True)
    (table,) = (tmp_path / "run").glob("units-*.parquet")
    table.write_bytes(b"?")
    with pytest.raises(TrainingError, match=r"cannot be resumed: the record .* is damaged"):
        run(tmp_path / "run", on_step=probing, resume=True)
    assert table.read_bytes() == b"?"


def test_lost_record_is_refused(tmp_path: Path) -> None:
    """Where the tables are gone a run does not go on without them; one that never had any does."""
    run(tmp_path / "run", on_step=probing, should_stop=lambda: True)
    (tmp_path / "run/record.json").unlink()
    with pytest.raises(TrainingError, match=r"cannot be resumed: .*record\.json"):
        run(tmp_path / "run", on_step=probing, resume=True)
    run(tmp_path / "bare", should_stop=lambda: True)
    assert run(tmp_path / "bare", resume=True)[1].finished


def test_another_record_is_not_overwritten(tmp_path: Path) -> None:
    """A run does not begin over a probe's record, nor over that of a run whose checkpoints are gone."""
    record = probing(0, small_model())
    assert record is not None
    record.save(tmp_path / "probe")
    run(tmp_path / "run", on_step=probing, should_stop=lambda: True)
    shutil.rmtree(tmp_path / "run/checkpoints")
    for name in ("probe", "run"):
        before = (tmp_path / name / "record.json").read_bytes()
        with pytest.raises(TrainingError, match="holds a record but no checkpoint"):
            run(tmp_path / name, on_step=probing, resume=True)
        assert (tmp_path / name / "record.json").read_bytes() == before


def test_a_run_that_is_not_there_is_not_resumed(tmp_path: Path) -> None:
    """A mistyped directory is refused, and nothing is made there."""
    (tmp_path / "empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(TrainingError, match=f"there is no run to resume in '.*{name}'"):
            run(tmp_path / name, on_step=probing, resume=True)
    assert not (tmp_path / "nowhere").exists()
    assert not any((tmp_path / "empty").iterdir())


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    """While one holds the directory another is refused, and afterwards it is free."""
    with (
        locked(tmp_path / "run"),
        pytest.raises(TrainingError, match="another process is training in"),
        locked(tmp_path / "run"),
    ):
        pass
    with locked(tmp_path / "run"):
        pass
