"""The analysis of gradients at initialisation, run on small networks and synthetic images."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

from gradflow.theory import UNIT_KINDS, slope

ANALYSES = Path(__file__).parents[2] / "analyses"
TEXTS = {".md", ".json", ".csv", ".svg"}

pytestmark = pytest.mark.skipif(not ANALYSES.is_dir(), reason="analyses/ is in the checkout only")


@pytest.fixture(scope="module")
def script(_importable: None) -> ModuleType:
    """The script, as a module."""
    return importlib.import_module("initial_gradients")


def run(script: ModuleType, folder: Path, *options: str) -> Result:
    """Run the script on small batches of synthetic images, with work and output in `folder`."""
    places = ["--work", str(folder / "work"), "--out", str(folder / "out")]
    small = ["--data", "synthetic", "--batch-size", "4", "--seeds", "2", "--threads", "1"]
    return CliRunner().invoke(script.main, [*small, *places, *options])


@pytest.fixture(scope="module")
def written(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one run over all networks: two basic depths and a bottleneck one."""
    folder = tmp_path_factory.mktemp("initial-gradients")
    result = run(script, folder, "--depths", "14,20,29-bottleneck")
    assert result.exit_code == 0, result.output
    return folder / "out"


def test_it_writes_page_numbers_provenance_and_figures(written: Path) -> None:
    """Every file that the page speaks of is there and can be read."""
    page = (written / "README.md").read_text(encoding="utf-8")
    for name in ("gradient-norm-by-depth", "pre-activation-laws", "shares-and-gains", "plain-networks"):
        assert f"]({name}.svg)" in page
        assert (written / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (written / f"{name}.svg").read_text(encoding="utf-8")
    assert "{{" not in page
    assert not re.search(r"\b(nan|inf|None)\b", page)


def test_every_unit_of_every_network_is_in_the_numbers(written: Path) -> None:
    """A row a network, depth, BN mode and unit, each mean inside its interval."""
    numbers = pd.read_csv(written / "numbers.csv")
    counts = numbers.groupby(["network", "depth", "bn"])["unit"].nunique()
    assert counts.groupby("depth").unique().map(list).to_dict() == {
        "14": [6],
        "20": [9],
        "29-bottleneck": [9],
    }
    assert len(counts) == 3 * 3 * 2
    assert (numbers["seeds"] == 2).all()
    known = numbers.dropna(subset=["grad_in_norm_low"])
    assert len(known) == len(numbers)
    assert known["grad_in_norm"].between(known["grad_in_norm_low"], known["grad_in_norm_high"]).all()


def test_predictions_have_values_intervals_and_verdicts(written: Path) -> None:
    """Each prediction is held against each stage, and one whose conditions are not met is not judged."""
    table = pd.read_csv(written / "predictions.csv", keep_default_na=False, na_values=[""])
    growth = table[(table["law"] == "energy_growth") & (table["network"] == "preact")]
    assert growth.groupby("depth").size().to_dict() == {"14": 3, "20": 3, "29-bottleneck": 3}
    assert set(growth["predicted"]) == {1.0, 0.25}
    outside = table["outside"].notna()
    assert (table.loc[outside, "verdict"] == "out of its conditions").all()
    assert (table.loc[~outside, "verdict"] != "out of its conditions").all()


def test_provenance_names_what_was_done_and_where_nothing(written: Path) -> None:
    """Command, seeds, data, versions and date are told; no text holds a directory of this machine."""
    told = json.loads((written / "provenance.json").read_text(encoding="utf-8"))
    assert told["data"] == "synthetic"
    assert told["seeds"]["plain29-bottleneck"] == "0-1"
    assert told["dtypes"] == ["float32", "float64"]
    assert {"torch", "numpy"} <= set(told["versions"])
    for file in written.iterdir():
        if file.suffix in TEXTS:
            text = file.read_text(encoding="utf-8")
            assert str(written.parent) not in text, file.name
            assert str(ANALYSES.parent) not in text, file.name


def test_a_second_run_measures_nothing_again(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the work directory holds is taken up; what was made otherwise, or is damaged, is measured anew."""
    assert run(script, tmp_path, "--depths", "14", "--network", "plain").exit_code == 0
    measuring = importlib.import_module("initialisation.measuring")
    calls: list[str] = []
    probe = measuring.probe

    def counting(*arguments: object, **options: object) -> object:
        calls.append("probe")
        return probe(*arguments, **options)

    monkeypatch.setattr(measuring, "probe", counting)
    assert run(script, tmp_path, "--depths", "14", "--network", "plain").exit_code == 0
    assert calls == []
    (tmp_path / "work" / "plain14-seed1" / "frozen" / "units.parquet").write_bytes(b"cut off")
    assert run(script, tmp_path, "--depths", "14", "--network", "plain").exit_code == 0
    assert len(calls) == 2
    assert run(script, tmp_path, "--depths", "14", "--network", "plain", "--batch-size", "3").exit_code == 0
    assert len(calls) == 6


@pytest.mark.parametrize("options", [["--data", "folder:nowhere"], ["--depths", "15"]])
def test_what_cannot_be_used_is_refused_in_one_line(
    script: ModuleType, tmp_path: Path, options: list[str]
) -> None:
    """A missing folder or an illegal depth gives one line, exit status 2, and no output."""
    result = run(script, tmp_path, "--depths", "14", "--network", "preact", *options)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_gains_unit_by_unit_make_the_power_law_in_the_continuum(kind: str) -> None:
    """Far from a stage's start, where v changes little a unit, the product has the exponent r^K."""
    fits = importlib.import_module("initialisation.fits")
    unit = UNIT_KINDS[kind]
    variance = 1000 + unit.variance_gain * np.arange(200)
    exponent = -slope(np.log(variance), fits.accumulated(unit, variance, 0, padding=False))
    assert exponent == pytest.approx(unit.exponent, rel=1e-3)


def test_channel_variances_are_those_that_batch_normalisation_takes() -> None:
    """The variance of a unit's output is what the next unit's BN keeps as its statistics."""
    import gradflow

    measuring = importlib.import_module("initialisation.measuring")
    model = gradflow.build_model("preact14", seed=3).double()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bn = model.get_submodule("stage1.1.branch.bn1")
    bn.momentum = 1.0
    rows = measuring.channel_variances(model, images).set_index("unit")
    elements = 4 * 32 * 32
    kept = bn.running_var * (elements - 1) / elements  # torch keeps the unbiased variance
    assert rows.loc[0, "variance"] == pytest.approx(float(kept.mean()))
    assert rows.loc[0, "harmonic_variance"] == pytest.approx(float(1 / (1 / kept).mean()))
    assert not any(module._forward_hooks for module in model.modules())
