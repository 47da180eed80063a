"""`gradflow train`: what it leaves behind, what it says, and what it refuses in one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from _runs import write_images
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import gradflow
from gradflow.cli import alongside, training_run
from gradflow.cli.progress import Telling, told
from gradflow.data import opening, synthetic
from gradflow.record import load_record
from gradflow.training.directory import locked

Cli = Callable[..., Any]
"""Runs the command line; see conftest.py."""

SMALL = (
    *("train", "--model", "preact8", "--width", "4", "--input-shape", "3,8,8", "--data", "folder:."),
    *("--recipe", "he2016-short", "--iterations", "6", "--batch-size", "8", "--probe-batch-size", "8"),
    *("--probe-every", "2", "--check-every", "3", "--test-every", "6", "--checkpoint-every", "2"),
)


@pytest.fixture
def trains(cli: Cli, tmp_path: Path) -> Cli:
    """The command line, in a directory with small images in train/ and test/."""
    write_images(tmp_path)
    return cli


def test_train_then_report_and_probe(trains: Cli, tmp_path: Path) -> None:
    """A run leaves a record, checkpoints and events, which report, probe and TensorBoard take as they are."""
    result = trains(*SMALL, "--data-name", "blobs")
    assert result.status == 0, result.stderr
    assert result.stdout.startswith("preact8: test error ")
    run = tmp_path / "runs/preact8-1"
    assert {entry.name for entry in (run / "checkpoints").iterdir()} == {"newest.pt", "best.pt"}
    assert any((run / "events").iterdir())
    record = load_record(run)
    assert sorted(record.units["iteration"].unique()) == [0, 2, 3, 4, 6]
    assert sorted(record.checks["iteration"].unique()) == [0, 3, 6]
    held = record.checks[record.checks["expected_to_hold"]]
    assert held["holds"].all()
    assert record.meta["data"]["name"] == "folder:blobs"
    assert record.meta["training"]["recipe"]["batch_size"] == 8
    assert str(tmp_path) not in json.dumps(record.meta)
    assert trains("report").status == 0
    assert (tmp_path / "reports/report/training.png").is_file()
    probe = (
        *("probe", "--model", "preact8", "--width", "4", "--input-shape", "3,8,8", "--num-classes", "4"),
        *("--checkpoint", str(run / "checkpoints/newest.pt"), "--batch-size", "8", "--format", "json"),
    )
    line = "newest.pt was trained on folder:blobs, and a checkpoint does not say where that lies"
    assert line in trains(*probe).error
    probed = trains(*probe, "--data", "folder:.", "--data-name", "blobs")
    assert probed.status == 0, probed.stderr
    assert "was trained on" not in probed.stderr
    meta = json.loads(probed.stdout)["meta"]
    assert meta["checkpoint"]["iteration"] == 6
    assert meta["data"]["normalisation"] == {"kind": "pixel-mean", "of": "folder:blobs"}


def test_interrupted_run_ends_with_a_checkpoint(
    trains: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends a run after the step at hand, with a checkpoint and a line that says how to go on."""
    measure = alongside.Measuring.__call__

    def interrupting(self: alongside.Measuring, iteration: int, model: torch.nn.Module) -> object:
        if iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(self, iteration, model)

    monkeypatch.setattr(alongside.Measuring, "__call__", interrupting)
    before = signal.getsignal(signal.SIGINT)
    result = trains(*SMALL, "--out", "run")
    assert result.status == 130
    assert (
        "stopped after iteration 3; a checkpoint is in run; continue with the same command" in result.stderr
    )
    assert signal.getsignal(signal.SIGINT) is before
    assert torch.load(tmp_path / "run/checkpoints/newest.pt")["iteration"] == 3
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    finished = trains(*SMALL, "--out", "run", "--resume")
    assert finished.status == 0, finished.stderr
    assert load_record(tmp_path / "run").steps["iteration"].tolist() == [1, 2, 3, 4, 5, 6]


def test_limit_on_time_is_no_failure(trains: Cli, tmp_path: Path) -> None:
    """A run that is told to stop after no time makes a step, saves, and exits 0."""
    result = trains(*SMALL, "--out", "run", "--stop-after", "0")
    assert result.status == 0
    assert result.stdout == ""
    assert torch.load(tmp_path / "run/checkpoints/newest.pt")["iteration"] == 1


def test_what_is_said_on_the_way(trains: Cli) -> None:
    """Without a terminal there are plain lines with rate, time left and error; with --quiet only the end."""
    said = trains(*SMALL).stderr
    assert "iteration 6 of 6, " in said
    assert " it/s, 0:00:00 left, training error " in said
    assert ", test error " in said
    assert "\x1b" not in said
    assert "it/s" not in trains(*SMALL, "--quiet").stderr


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal a bar shows iterations, rate and error."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    with told("preact8", quiet=False) as (telling,):
        telling.started(0, 10)
        telling.stepped([{"iteration": 4, "error": 0.5}])
        telling.tested(4, 1.0, 0.25)
        assert telling.errors() == "training error 50.0 %, test error 25.0 %"
    said = capsys.readouterr().err
    assert "preact8" in said
    assert "4/10" in said
    with told("preact8", quiet=True) as none:
        assert none == []


def test_rate_counts_this_process_only() -> None:
    """After a resume at iteration 1,000 the rate is of the steps made since."""
    telling = Telling(lambda _: None)
    telling.started(1_000, 2_000)
    assert telling.rate == 0
    telling.stepped([{"iteration": 1_001, "error": 0.5}])
    assert 0 < telling.rate < 1e9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "he2017"], "unknown recipe 'he2017' (did you mean"),
        (["--iterations", "5", "--epochs", "1"], "give --iterations or --epochs, not both"),
        (["--stop-after", "nan"], "'--stop-after': nan is not a finite number"),
        (["--stop-after", "inf"], "'--stop-after': inf is not a finite number"),
        (["--stop-after", "-1"], "-1.0 is not in the range x>=0"),
        (["--learning-rate", "nan"], "'--learning-rate': nan is not a finite number"),
        (["--weight-decay", "inf"], "'--weight-decay': inf is not a finite number"),
        (
            ["--out", "rnu", "--resume"],
            "there is no run to resume in 'rnu', which holds no checkpoints/newest.pt",
        ),
        (["--resume"], "--resume continues the run in --out; give --out too"),
        (["--data", "cifar10", "--input-shape", "3,32,32"], "cifar10 is not in"),
        (["--data", "folder:nowhere"], "data folder 'nowhere' does not exist"),
        (["--data", "package.module:batches"], "there is no module package"),
        (["--input-shape", "3,9,9"], "has 8 × 8 pixels, but the model takes 9 × 9; resize the images"),
        (["--num-classes", "3"], "has 4 classes, but the model has 3 outputs; take --num-classes 4"),
        (["--batch-size", "61"], "batch size 61 is larger than the training data, which has 60 images"),
        (["--accumulate", "3"], "a batch of 8 cannot be run in 3 equal parts"),
        (["--drops", "9,3"], "'9,3' is not in order"),
        (["--drops", "soon"], "'soon' is no list of iterations; expected 32000,48000 or none"),
        (["--model", "preact9"], "no network has depth 9"),
        (["--probe-batch-size", "61"], "--probe-batch-size 61 is larger than the training data"),
    ],
)
def test_bad_input_is_one_line(
    trains: Cli, tmp_path: Path, options: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot work is refused with a line that says what to do, and leaves nothing behind."""
    monkeypatch.setattr(opening, "default_root", lambda: tmp_path / "cache")
    before = {entry.name for entry in tmp_path.iterdir()}
    assert message in trains(*SMALL, *options).error
    assert {entry.name for entry in tmp_path.iterdir()} - before <= {"runs"}
    assert not any((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the GPU whose absence is tested")
def test_missing_gpu(trains: Cli) -> None:
    """A GPU that was asked for and is not there is an error, not a slower run."""
    assert (
        "--device cuda: torch finds no GPU here; take --device cpu"
        in trains(*SMALL, "--device", "cuda").error
    )


def test_download_that_is_cut_off(trains: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that ends early is said to have failed, and no run is begun."""
    from torchvision.datasets import utils

    def cut_off(url: str, filename: Path | str, *arguments: object, **options: object) -> None:
        Path(filename).write_bytes(b"half an arch")

    monkeypatch.setattr(utils, "_urlretrieve", cut_off)
    monkeypatch.setattr(opening, "default_root", lambda: tmp_path / "cache")
    line = trains(*SMALL, "--data", "cifar10", "--download", "--input-shape", "3,32,32").error
    assert "cifar10 could not be downloaded: " in line
    assert not (tmp_path / "runs").exists()


def test_divergence_names_iteration_and_unit(trains: Cli, tmp_path: Path) -> None:
    """A learning rate that is far too high ends the run where it began; the checkpoint before it is good."""
    line = trains(*SMALL, "--out", "run", "--learning-rate", "1e30", "--weight-decay", "1").error
    assert "training diverged at iteration " in line
    assert "it began in unit " in line
    assert "start again with a lower --learning-rate" in line
    kept = torch.load(tmp_path / "run/checkpoints/newest.pt")
    assert all(value.isfinite().all() for value in kept["model"].values())
    assert trains("report", "run").status == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_divergence_leaves_its_last_numbers(trains: Cli, tmp_path: Path) -> None:
    """The record, and TensorBoard's events on disk, go on to the step that failed."""
    spoilt = ("--learning-rate", "1e30", "--weight-decay", "1", "--checkpoint-every", "100")
    line = trains(*SMALL, "--out", "run", *spoilt).error
    steps = load_record(tmp_path / "run").steps
    failed = int(steps["iteration"].max())
    assert f"training diverged at iteration {failed}: " in line
    assert failed > 1
    events = EventAccumulator(str(tmp_path / "run/events")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, failed))


def test_a_run_killed_before_its_first_checkpoint_may_begin_anew(trains: Cli, tmp_path: Path) -> None:
    """What it left is no run to resume, and nothing that would have to be kept."""
    assert trains(*SMALL, "--out", "run", "--stop-after", "0").status == 0
    record = load_record(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    record.meta["training"]["iteration"] = 0
    record.save(tmp_path / "run")
    assert "there is no run to resume in 'run'" in trains(*SMALL, "--out", "run", "--resume").error
    assert trains(*SMALL, "--out", "run").status == 0
    assert load_record(tmp_path / "run").steps["iteration"].tolist() == [1, 2, 3, 4, 5, 6]


def test_divergence_is_located_where_it_is(trains: Cli) -> None:
    """Weights that overflow in the middle unit's branch are found there; a spoilt parameter by its name."""
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    model = gradflow.build_model("resnet8", width=4)
    with torch.no_grad():
        next(model.get_submodule("stage2.0.branch").parameters()).fill_(3e38)
    assert "unit 1 (stage2.0)" in alongside.locate_divergence(model, images, torch.arange(4))
    with torch.no_grad():
        model.get_parameter("head.weight").fill_(float("nan"))
    assert "head.weight" in alongside.locate_divergence(model, images, torch.arange(4))


def test_directory_in_use_or_taken(trains: Cli, tmp_path: Path) -> None:
    """A directory that another process trains in is refused, and so is one that holds something."""
    with locked(tmp_path / "run"):
        assert "another process is training in 'run'" in trains(*SMALL, "--out", "run").error
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("…")
    assert "mine exists and is kept; continue its run with --resume" in trains(*SMALL, "--out", "mine").error
    assert "no module of ResidualNetwork" in trains(*SMALL, "--out", "new", "--units", "nowhere").error
    assert trains(*SMALL, "--out", "new", "--stop-after", "0").status == 0  # no run had begun there
    (tmp_path / "file").write_text("…")
    assert "file is a file; choose another --out" in trains(*SMALL, "--out", "file", "--resume").error


def test_resuming_another_run(trains: Cli, tmp_path: Path) -> None:
    """Another recipe or model than the run's own is refused, and the line says what differs."""
    assert trains(*SMALL, "--out", "run", "--stop-after", "0").status == 0
    resume = ("--out", "run", "--resume")
    assert "name was he2016-short and is he2016" in trains(*SMALL, *resume, "--recipe", "he2016").error
    assert "model was preact8 and is resnet8" in trains(*SMALL, *resume, "--model", "resnet8").error
    assert "probe-every was 2 and is 5" in trains(*SMALL, *resume, "--probe-every", "5").error
    elsewhere = tmp_path / "elsewhere" / tmp_path.name  # of the same name, but other images
    elsewhere.mkdir(parents=True)
    write_images(elsewhere, seed=1)
    named = ("--data", f"folder:{elsewhere}", "--data-name", ".")
    assert "images-digest was" in trains(*SMALL, *named, *resume).error
    assert "units was not said and is stage1.*" in trains(*SMALL, *resume, "--units", "stage1.*").error
    assert trains(*SMALL, *resume).status == 0


def test_full_disk(tmp_path: Path) -> None:
    """Where no more can be written the line says so, and what was written before is whole."""
    write_images(tmp_path)
    larger = ("--model", "preact20", "--width", "16", "--iterations", "1")

    def no_large_files() -> None:
        # Below a checkpoint of preact20 (2.2 MB), above whatever else libraries may write.
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    done = subprocess.run(
        [sys.executable, "-m", "gradflow", *SMALL, *larger, "--out", "run", "--quiet"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])},
        preexec_fn=no_large_files,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("gradflow: ")]
    assert "the disk is full; free some space or write elsewhere with --out" in line
    assert "Traceback" not in done.stderr
    assert torch.load(tmp_path / "run/checkpoints/newest.pt")["iteration"] == 0
    assert not list(tmp_path.glob("run/**/.*unfinished*"))
    load_record(tmp_path / "run")


def test_synthetic_images_can_be_learned(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --data the network trains on generated images, and gets better than chance on unseen ones."""
    monkeypatch.setattr(synthetic, "SET_SIZES", {"train": 600, "test": 200})
    result = cli(
        *("train", "--model", "preact8", "--width", "8", "--recipe", "he2016-short", "--iterations", "40"),
        *("--batch-size", "32", "--probe-every", "40", "--check-every", "0", "--out", "run", "--quiet"),
    )
    assert result.status == 0, result.stderr
    assert load_record("run").steps["test_error"].iloc[-1] < 0.7  # chance is 0.9
    assert training_run.EVENTS in {entry.name for entry in Path("run").iterdir()}
