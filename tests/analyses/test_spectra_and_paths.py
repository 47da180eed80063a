"""The analyses of Jacobians, and of paths and lesions, run on small networks and synthetic images."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import gradflow

ANALYSES = Path(__file__).parents[2] / "analyses"

pytestmark = pytest.mark.skipif(not ANALYSES.is_dir(), reason="analyses/ is in the checkout only")


def run(name: str, folder: Path, *options: str) -> Path:
    """Run a script on synthetic images; return where its output is."""
    script = importlib.import_module(name)
    places = ["--work", str(folder / "work"), "--out", str(folder / "out")]
    result = CliRunner().invoke(script.main, ["--data", "synthetic", *places, *options])
    assert result.exit_code == 0, result.output
    return folder / "out"


@pytest.mark.parametrize("c", [0.01, 0.5, 2.0])
def test_edge_is_where_the_s_transform_says(c: float) -> None:
    """σ² at the edge is the least 1/χ(z) over z > 0, χ(z) = z/(1+z) exp(−c(1+2z)), found by search."""
    largest = importlib.import_module("spectra.predictions").largest
    grid = torch.logspace(-3, 3, 2_000_001, dtype=torch.float64)
    chi = grid / (1 + grid) * torch.exp(-c * (1 + 2 * grid))
    assert largest(c) ** 2 == pytest.approx(1 / float(chi.max()), rel=1e-9)


def test_law_of_the_mean_on_dense_matrices() -> None:
    """For many small random matrices both laws hold: E σ² = Π (1 + m) and the edge."""
    predictions = importlib.import_module("spectra.predictions")
    generator = torch.Generator().manual_seed(0)
    size, count, m = 300, 60, 0.01
    product = torch.eye(size, dtype=torch.float64)
    for _ in range(count):
        step = torch.randn(size, size, generator=generator, dtype=torch.float64) * math.sqrt(m / size)
        product = product + step @ product
    values = torch.linalg.svdvals(product)
    near = 2 * size ** (-2 / 3)  # the scale on which the largest of N varies about the edge
    assert float(values.square().mean()) == pytest.approx(predictions.mean_square([m] * count), rel=near)
    assert float(values[0]) == pytest.approx(predictions.largest(count * math.log1p(m)), rel=near)


def test_spectra_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page, numbers, predictions with verdicts, provenance and figures are there; ReZero is the identity."""
    measuring = importlib.import_module("spectra.measuring")
    monkeypatch.setattr(measuring, "LARGEST", 1)
    monkeypatch.setattr(measuring, "PROBES", 2)
    script, (preact, *_, rezero) = importlib.import_module("jacobian_spectra"), measuring.cases("20")
    monkeypatch.setattr(script, "cases", lambda _depth: [preact, rezero])
    spans = {"stage 1": (4, 5), "network": (6, 9)}
    for module in (script, measuring):
        monkeypatch.setattr(module, "spans", lambda _depth: spans)
    small = ("--depth", "20", "--seeds", "2", "--batch-size", "1", "--width", "2")
    out = run("jacobian_spectra", tmp_path, *small)
    page = (out / "README.md").read_text(encoding="utf-8")
    for figure in ("spans", "branches"):
        assert f"]({figure}.svg)" in page
        assert (out / f"{figure}.png").exists()
    spans = pd.read_csv(out / "spans.csv").set_index(["network", "span"])
    assert spans.loc[("rezero", "stage 1"), "largest"] == pytest.approx(1, abs=1e-6)
    verdicts = pd.read_csv(out / "predictions.csv")
    assert set(verdicts["network"]) == {"preact"}
    assert verdicts["verdict"].notna().all()
    assert json.loads((out / "provenance.json").read_text())["data"] == "synthetic"


def test_paths_and_lesions_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained network stands beside one with a checkpoint, whose digest is in the provenance."""
    measuring = importlib.import_module("lesioned.measuring")
    for name, value in (("PATH_BATCH", 2), ("LESION_BATCH", 2), ("SAMPLES", 2), ("TEST_IMAGES", 8)):
        monkeypatch.setattr(measuring, name, value)
    checkpoint = tmp_path / "weights.pt"
    torch.save({"model": gradflow.build_model("preact14", seed=9).state_dict(), "iteration": 7}, checkpoint)
    out = run(
        "paths_and_lesions",
        tmp_path,
        *("--network", "preact14", "--checkpoint", f"preact14={checkpoint}", "--repetitions", "2"),
    )
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "preact14, trained" in page
    assert "preact14, untrained" in page
    assert str(tmp_path) not in page
    told = json.loads((out / "provenance.json").read_text())
    assert told["checkpoints"]["preact14"]["iteration"] == 7
    assert str(tmp_path) not in json.dumps(told)
    paths = pd.read_csv(out / "paths.csv")
    assert paths.groupby("network")["share"].sum().to_numpy() == pytest.approx([1, 1], abs=1e-3)
