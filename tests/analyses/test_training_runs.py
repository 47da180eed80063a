"""The page of training runs: weights that a probe reads, numbers that are the record's."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from gradflow.cli.entry import application as gradflow
from gradflow.record import load_record


def train(folder: Path) -> None:
    """Train the smallest network for four iterations."""
    options = ["--iterations", "4", "--batch-size", "8", "--probe-every", "2", "--check-every", "4"]
    options += [
        "--test-every",
        "4",
        "--data",
        "synthetic",
        "--probe-batch-size",
        "4",
        "--device",
        "cpu",
        "--quiet",
    ]
    result = CliRunner().invoke(
        gradflow, ["train", "--model", "preact8", "--recipe", "he2016-short", *options, "--out", str(folder)]
    )
    assert result.exit_code == 0, result.output


def run(folder: Path, *options: str) -> Result:
    """Run the script, with work and output in `folder`."""
    script: Any = importlib.import_module("training_runs")
    places = ["--work", str(folder / "work"), "--out", str(folder / "out")]
    few = ["--seeds", "2", "--batch-size", "4", "--threads", "1", "--data", "synthetic"]
    return CliRunner().invoke(script.main, [*few, *places, *options])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a training run and the page about it."""
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "run")
    result = run(folder, "--run", str(folder / "run"))
    assert result.exit_code == 0, result.output
    return folder


def test_weights_are_kept_and_read_by_a_probe(made: Path) -> None:
    """What is kept has the run's weights, no momentum, and `gradflow probe --checkpoint` takes it."""
    newest, kept = (
        torch.load(path, weights_only=True)
        for path in (made / "run" / "checkpoints" / "newest.pt", made / "out" / "preact8.pt")
    )
    assert set(kept) == {"model", "iteration", "data"}
    assert all(torch.equal(kept["model"][name], value) for name, value in newest["model"].items())
    command = ["probe", "--model", "preact8", "--checkpoint", str(made / "out" / "preact8.pt")]
    result = CliRunner().invoke(
        gradflow, [*command, "--data", "synthetic", "--batch-size", "4", "--out", str(made / "probed")]
    )
    assert result.exit_code == 0, result.output
    assert load_record(made / "probed").meta["checkpoint"]["iteration"] == 4


def test_numbers_are_those_of_the_records(made: Path) -> None:
    """The table's error is the record's, and the factor a unit is had from norms in the tables."""
    page = (made / "out" / "README.md").read_text(encoding="utf-8")
    record = load_record(made / "run")
    assert f"{100 * record.meta['training']['last_error']:.2f} %" in page
    assert "4 of 4" in page
    units = pd.read_csv(made / "out" / "units.csv")
    assert set(units["network"]) == {"preact8, untrained", "preact8, trained"}
    assert np.isfinite(units["grad_in_norm"]).all()
    assert json.loads((made / "out" / "provenance.json").read_text())["runs"]["preact8"]["iteration"] == 4
    assert len(pd.read_csv(made / "out" / "curves.csv")) == 1


def test_what_training_changed_is_said_only_where_intervals_part() -> None:
    """Overlapping intervals are no change; apart ones are one, to or from the identity's 1."""
    page: Any = importlib.import_module("trained.page")

    def summary(trained: bool, gain: float, width: float) -> dict[str, Any]:
        return {
            "network": "n",
            "trained": trained,
            "gain": gain,
            "gain_low": gain - width,
            "gain_high": gain + width,
        }

    assert "overlap." in page.sentence("n", [summary(False, 1.2, 0.1), summary(True, 1.1, 0.1)])
    assert "nearer to" in page.sentence("n", [summary(False, 1.2, 0.01), summary(True, 1.1, 0.01)])
    assert "farther from" in page.sentence("n", [summary(False, 0.9, 0.01), summary(True, 0.8, 0.01)])


def test_a_directory_without_a_training_run_is_refused(made: Path, tmp_path: Path) -> None:
    """In one line, with exit status 2."""
    result = run(tmp_path, "--run", str(made / "probed"))
    assert result.exit_code == 2
    assert "no training run" in result.output
