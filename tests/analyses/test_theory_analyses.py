"""The analyses of the −1 argument, of λ^k, of Tables 1 and 2 and of other nets, run small."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from _runs import write_images
from click.testing import CliRunner, Result

import gradflow

ANALYSES = Path(__file__).parents[2] / "analyses"

pytestmark = pytest.mark.skipif(not ANALYSES.is_dir(), reason="analyses/ is in the checkout only")


def run(script: str, folder: Path, *options: str) -> Result:
    """Run a script on synthetic images, with two seeds, with work and output in `folder`."""
    places = ["--work", str(folder / "work"), "--out", str(folder / "out")]
    command = importlib.import_module(script).main
    return CliRunner().invoke(command, ["--data", "synthetic", "--seeds", "2", *places, *options])


def check_output(result: Result, out: Path, *figures: str) -> str:
    """Return the page, after looking at it, its figures and its provenance."""
    assert result.exit_code == 0, result.output
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "{{" not in page
    assert not re.search(r"\b(nan|inf|None)\b", page)
    for figure in figures:
        assert f"]({figure}.svg)" in page
        assert (out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert torch.__version__.startswith(told["versions"]["torch"])
    assert "synthetic" in told["data"]
    for file in out.glob("*.[mjcs]*"):
        assert str(out.parent) not in file.read_text(encoding="utf-8"), file.name
    return page


def test_the_page_on_minus_one_counts_samples(tmp_path: Path) -> None:
    """Counts are over every sample, unit and seed, and the paper's statement has its verdict."""
    options = ["--model", "preact14", "--model", "resnet14", "--batch-size", "3", "--seeds", "10"]
    page = check_output(run("minus_one", tmp_path, *options), tmp_path / "out", "cancellation", "survival")
    numbers = pd.read_csv(tmp_path / "out" / "numbers.csv").set_index(["model", "form"])
    assert numbers.loc[("resnet14", "unit"), "pairs"] == 10 * 3 * 4  # padded units are left out
    assert numbers.loc[("preact14", "unit"), "pairs"] == 10 * 3 * 4
    assert "span to the run's end" not in numbers.loc["resnet14"].index
    assert (numbers["near_full"] == 0).all()
    assert "**agrees**" in page


def test_trained_weights_are_looked_at_with_running_statistics(tmp_path: Path) -> None:
    """A checkpoint's network is measured in BN mode running, and is said to be trained."""
    model = gradflow.build_model("preact14", seed=5)
    torch.save(model.state_dict(), tmp_path / "ckpt.pt")
    options = ["--model", "preact14", "--checkpoint", f"preact14={tmp_path / 'ckpt.pt'}", "--batch-size", "3"]
    page = check_output(run("minus_one", tmp_path, *options), tmp_path / "out", "cancellation")
    assert "preact14, frozen" in page
    assert "preact14, running" in page
    refused = run("minus_one", tmp_path, "--checkpoint", str(tmp_path / "ckpt.pt"))
    assert refused.exit_code == 2
    assert "NETWORK=FILE" in refused.output


def test_each_samples_numbers_are_those_of_the_record() -> None:
    """Quantiles over the samples, in units and spans, are the record's columns, which a probe wrote."""
    measuring = importlib.import_module("cancelling.measuring")
    model, images = gradflow.build_model("preact20", seed=0).double(), torch.randn(5, 3, 16, 16).double()
    targets = torch.tensor([0, 1, 2, 3, 4])
    samples = measuring.per_sample(model, images, targets, "frozen")
    units = gradflow.probe(model, images, targets, bn="frozen").units.set_index("unit")
    for column in ("cancellation", "survival", "span_cancellation", "span_survival"):
        for name, quantile in (("min", 0.0), ("p50", 0.5), ("max", 1.0)):
            found = samples.dropna(subset=[column]).groupby("unit")[column].quantile(quantile)
            assert found.tolist() == pytest.approx(units.loc[found.index, f"{column}_{name}"].tolist())


def test_a_cancelling_branch_is_counted() -> None:
    """Control: where b is −s, or −0.95 s and nothing else, both counts see it; elsewhere neither does."""
    summary = importlib.import_module("cancelling.summary")
    rows = {"model": "made", "bn": "frozen", "seed": [0, 0, 1, 1], "unit": 0, "stage": 0}
    rho = np.array([-1.0, -0.95, -0.5, 0.2])
    frame = pd.DataFrame(rows | {"cancellation": rho, "survival": np.abs(1 + rho)})
    found = summary.count_near(frame).iloc[0]
    assert (found["near_full"], found["near_along"], found["reaching"]) == (2, 2, 1)
    assert found["verdict"] == "undecided"


def test_powers_are_exact_with_blocked_branches(tmp_path: Path) -> None:
    """λ^k to rounding for each scale; every kind of shortcut is in the table of rates."""
    options = ["--model", "preact20", "--batch-size", "2"]
    page = check_output(run("shortcut_powers", tmp_path, *options), tmp_path / "out", "powers")
    assert page.count("| λ^k to ") == 4
    rates = pd.read_csv(tmp_path / "out" / "rates.csv", keep_default_na=False)
    assert rates["shortcut"].nunique() == 13
    gates = rates[(rates["law"] == "gate_rate")]
    assert (gates["verdict"] == "out of its conditions").all()
    numbers = pd.read_csv(tmp_path / "out" / "numbers.csv")
    scaled = numbers[numbers["shortcut"] == "scale:0.5"]
    assert scaled["blocked_gain"].tolist() == pytest.approx(
        (0.5 ** scaled["units_between"]).tolist(), rel=1e-4
    )


def _gains_page(whole: float, seeds: int) -> str:
    """Return the page on λ^k with branches that hand on `whole` times what comes, in all networks alike."""
    cases = importlib.import_module("gains.measuring").CASES
    summary = importlib.import_module("gains.summary")
    k = np.arange(1.0, 4.0)
    gains = pd.concat(
        pd.DataFrame({"shortcut": case.shortcut, "seed": seed, "stage": 0, "units_between": k}).assign(
            blocked_gain=case.predicted(k), predicted_gain=case.predicted(k), whole_gain=whole + seed / 1e6
        )
        for case in cases
        for seed in range(seeds)
    )
    write_page = importlib.import_module("gains.page").write_page
    rates = summary.judge_rates(gains)
    page: str = write_page(gains, summary.summarise(gains), rates, "preact20", "synthetic", 2)
    return page


def test_why_a_gradient_grows_is_a_reading_of_small_lambdas_alone() -> None:
    """It is offered for λ < 1, said to be unmeasured, and not there where nothing grew against λ^k."""
    (reading,) = [line for line in _gains_page(2.0, 10).splitlines() if "standard deviation" in line]
    assert "A reading, which nothing here measures" in reading
    assert "(λ = 0.5, λ = 0.9)" in reading
    assert "standard deviation" not in _gains_page(0.5, 10)


def test_rates_of_few_seeds_are_said_to_be_undecided() -> None:
    """The sentence on gates and dropout leaves none out."""
    assert "beside the prediction: *undecided*: dropout" in _gains_page(2.0, 2)
    assert "*undecided*" not in _gains_page(2.0, 10)


@pytest.mark.parametrize(("ratios", "words"), [((1, 3, 2, 5, 4), True), ((1, 2, 3, 4, 5), False)])
def test_a_rank_correlation_that_may_be_chance_shows_nothing(ratios: tuple[int, ...], words: bool) -> None:
    """p ≥ 0.05 is no proof of the contrary: five cases in nearly the paper's order are such a case."""
    page = importlib.import_module("paper_tables.page")
    cases = [
        case for case in importlib.import_module("paper_tables.cases").CASES if case.model == "resnet164"
    ]
    order = np.argsort(np.argsort([float(case.error) for case in cases]))
    rows = {case.name: {"ratio": np.exp(ratios[rank])} for case, rank in zip(cases, order, strict=True)}
    sentence = page._ranks(cases, rows, "resnet164")
    assert ("are not shown to rank these networks" in sentence) is words
    assert "do not rank" not in sentence


@pytest.mark.parametrize(
    ("slope", "decay"), [("disagrees", "disagrees"), ("agrees", "disagrees"), ("disagrees", "undecided")]
)
def test_readings_are_of_disagreements_alone(slope: str, decay: str) -> None:
    """A reading of why a law fails is on the page only where the law fails."""
    verdicts = pd.DataFrame({"law": ["correlation_slope", "post_norm_decay"], "verdict": [slope, decay]})
    verdicts = verdicts.assign(net="a net", inputs="noise", predicted=1.0, value=1.0, outside="")
    verdicts = verdicts.assign(value_low=1.0, value_high=1.0)
    connected = pd.DataFrame({"net": ["a net"], "inputs": ["noise"], "co_active": [0.25]})
    write_page = importlib.import_module("elsewhere.page").write_page
    page = write_page(connected, verdicts, "noise", 10, {"connected": 2, "transformers": 2})
    assert ("*Residual nets with BN.*" in page) is (slope == "disagrees")
    assert ("*Post-LN.*" in page) is (decay == "disagrees")
    assert "## Disagreements, read afterwards" in page
    neither = verdicts.assign(verdict="agrees")
    assert "read afterwards" not in write_page(
        connected, neither, "noise", 10, {"connected": 2, "transformers": 2}
    )


def test_a_wrong_lambda_is_not_exact() -> None:
    """Control: one λ off by a thousandth is seen."""
    summary = importlib.import_module("gains.summary")
    gains = pd.DataFrame(
        {"shortcut": "scale:0.5", "blocked_gain": [0.5, 0.25 * 1.001], "predicted_gain": [0.5, 0.25]}
    )
    assert summary.worst_error(gains, "scale:0.5") == pytest.approx(1e-3)


@pytest.mark.parametrize(("table", "cases", "error"), [("1", 13, "12.35"), ("2", 5, "5.46")])
def test_tables_have_every_case_with_its_equations(
    tmp_path: Path, table: str, cases: int, error: str
) -> None:
    """Each case has a row with the paper's error; every statement that must hold does."""
    options = ["--table", table, "--depth", "14", "--batch-size", "2"]
    result = run("tables_at_initialisation", tmp_path, *options)
    page = check_output(result, tmp_path / "out", "gradients", "shares")
    assert len(pd.read_csv(tmp_path / "out" / "cases.csv")) == cases
    equations = pd.read_csv(tmp_path / "out" / "equations.csv")
    assert (equations["exact"] == equations["exact_due"]).all()
    assert equations["exact_due"].sum() > 0
    assert f"| {error} |" in page


def test_the_papers_errors_are_its_own() -> None:
    """Table 1's and Table 2's cases and errors, against the paper's table written down a second time."""
    cases = importlib.import_module("paper_tables.cases").CASES
    errors = [case.error for case in cases if case.table == 1]
    assert errors == [
        *("6.61", "fail", "fail", "12.35", "fail", "fail", "8.70", "9.81", "12.86", "6.91", "12.22", "fail"),
        "",
    ]
    second = {(case.model, case.activation): case.error for case in cases if case.table == 2}
    assert second["resnet110", "full-preact"] == "6.37"
    assert second["resnet164", "full-preact"] == "5.46"
    assert len(second) == 10


def test_other_nets_have_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every law about them is judged, on noise and on images."""
    measuring = importlib.import_module("elsewhere.measuring")
    monkeypatch.setattr(measuring, "WIDTH", 48)
    monkeypatch.setattr(measuring, "TRANSFORMER_WIDTH", 16)
    monkeypatch.setattr(measuring, "TRANSFORMER_DEPTHS", (2, 16))
    options = ["--batch-size", "8", "--transformer-batch-size", "2"]
    result = run("theory_elsewhere", tmp_path, *options)
    check_output(result, tmp_path / "out", "correlations", "transformers")
    verdicts = pd.read_csv(tmp_path / "out" / "verdicts.csv")
    assert {"correlation_plain", "post_norm_slope", "pre_norm_slope", "bounded_length"} <= set(
        verdicts["law"]
    )
    assert (verdicts["seeds"] == 2).all()


def test_gradients_of_a_linear_net_are_parallel() -> None:
    """Control: where every rectifier is on, all inputs have one gradient, and the condition is not met."""
    connected = importlib.import_module("elsewhere.connected")
    net = connected.Net("residual", residual=True, normalised=False, depths=(2,))
    inputs = 100 + torch.rand(3, 8, dtype=torch.float64)
    run = connected.forward(net, inputs, seed=0)
    first = run.gradients(torch.ones(8, dtype=torch.float64), 1)[0]
    assert connected.mean_cosine(first) == pytest.approx(1.0)
    assert not run.uncorrelated


def test_ratios_in_training_are_those_of_the_runs(tmp_path: Path) -> None:
    """Each number is the median ratio of a run's record; a second call trains nothing."""
    images = write_images(tmp_path / "images", size=32)
    options = ["--depths", "8,14", "--iterations", "2", "--batch-size", "4", "--seeds", "1"]
    options += ["--data", f"folder:{images}", "--data-name", "not synthetic"]
    page = check_output(run("ratios_in_training", tmp_path, *options), tmp_path / "out", "ratios")
    assert "**undecided**" in page  # one seed
    found = pd.read_csv(tmp_path / "out" / "ratios.csv").set_index(["layers", "seed", "iteration"])
    assert len(found) == 2 * 3
    units = gradflow.load_record(tmp_path / "work" / "preact14-seed0").units
    last = units[(units["iteration"] == 2) & (units["shortcut"] == "identity")]
    # A stage's last unit ends at its addition: the activation behind it is the next unit's.
    ends = last["grad_out_norm"].where(last["post_activation"] == "identity", last["grad_sum_norm"])
    assert (last["post_activation"] != "identity").any()
    expected = (last["grad_in_norm"] / ends).median()
    assert found.loc[(14, 0, 2), "identity"] == pytest.approx(expected, rel=1e-4)
    before = (tmp_path / "work" / "preact14-seed0" / "record.json").stat().st_mtime_ns
    assert run("ratios_in_training", tmp_path, *options).exit_code == 0
    assert (tmp_path / "work" / "preact14-seed0" / "record.json").stat().st_mtime_ns == before
