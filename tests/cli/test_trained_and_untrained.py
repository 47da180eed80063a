"""Trained beside untrained, as a user gets there: train by the recipe, probe both, and compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gradflow.cli.entry import run
from gradflow.report.changes import compare_alike
from gradflow.report.runs import load_runs

Cli = Callable[..., Any]

NETWORK = ("--model", "preact8", "--width", "4", "--input-shape", "3,8,8")
PROBE = ("probe", *NETWORK, "--batch-size", "8", "--batches", "10", "--format", "json")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a training run."""
    out = tmp_path_factory.mktemp("training") / "mine"
    steps = ("--recipe", "he2016-short", "--iterations", "4", "--batch-size", "8", "--quiet")
    cadence = ("--probe-batch-size", "8", "--probe-every", "2", "--check-every", "0")
    assert run(["train", *NETWORK, *steps, *cadence, "--out", str(out)]) == 0
    return out


def test_trained_and_untrained_compare(cli: Cli, training: Path) -> None:
    """With the training's normalisation for both they compare, batch by batch; without it, it is named."""
    trained = str(training / "checkpoints/newest.pt")
    metas = {}
    for name, options in (
        ("trained", ("--checkpoint", trained)),
        ("untrained", ("--data-of", trained)),
        ("plain", ()),
    ):
        result = cli(*PROBE, *options, "--out", f"runs/{name}")
        assert result.status == 0, result.stderr
        metas[name] = json.loads(result.stdout)["meta"]
    assert metas["untrained"]["checkpoint"] is None
    assert metas["untrained"]["data"] == metas["trained"]["data"] != metas["plain"]["data"]
    assert metas["untrained"]["data"]["normalisation"]["kind"] == "pixel-mean"

    document = json.loads(cli("diff", "runs/untrained", "runs/trained", "--format", "json").stdout)
    assert document["paired"]
    assert document["over"] == [
        "10 batches of one network (seed 0)",
        "10 batches of one network (newest.pt, iteration 4)",
    ]
    assert not document["decides"]
    assert document["summary"]["p_value"] is None
    assert document["summary"]["low"] < document["summary"]["change"] < document["summary"]["high"]
    assert "networks trained from several seeds" in document["sentences"][-1]
    refusal = cli("diff", "runs/plain", "runs/trained").error
    assert "probe both with the same --data-of CHECKPOINT" in refusal


def test_before_and_after_in_one_training_run(cli: Cli, training: Path) -> None:
    """Two iterations of a run compare, in the terminal and in a report; one not probed is refused."""
    first, last = f"{training}@first", f"{training}@last"
    document = json.loads(cli("diff", first, last, "--format", "json").stdout)
    shown = [json.loads(cli("show", f"{training}@{at}", "--format", "json").stdout) for at in (0, 4)]
    for unit, *rows in zip(document["units"], *(one["units"] for one in shown), strict=True):
        assert [unit["a"], unit["b"]] == pytest.approx([row["grad_in_norm"] for row in rows])
    assert document["units"][0]["change"] != 1
    assert document["runs"] == ["mine@first", "mine@last"]
    assert "it was at 0, 2, 4" in cli("diff", f"{training}@1", last).error
    assert "(iteration 2, seed 0)" in cli("show", f"{training}@2").stdout
    runs = load_runs([Path(first), Path(f"{training}@2"), Path(last)])
    assert [run.label.partition(" (")[2] for run in runs] == [
        "untrained)",
        "trained at iteration 2)",
        "trained at iteration 4)",
    ]
    changes, remarks = compare_alike(runs)
    assert [(each.baseline, each.index) for each in changes] == [(0, 1), (0, 2)]
    assert remarks == []
    assert all(run.network.over_time is None for run in runs)


def test_data_of_a_file_that_says_nothing_of_them_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Weights alone do not say how images were normalised."""
    torch.save({"weight": torch.zeros(1)}, tmp_path / "bare.pt")
    assert "does not say how its data were normalised" in cli(*PROBE, "--data-of", "bare.pt").error
    assert "does not exist" in cli(*PROBE, "--data-of", "none.pt").error
