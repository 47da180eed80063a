"""`gradflow check`: what it prints, saves and exits with."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch

import gradflow
from gradflow import equations

SMALL = ("--width", "4", "--batch-size", "2")


def test_equations_hold_on_a_preactivation_network(cli) -> None:
    """Every check that is expected to hold does, and the record has them."""
    result = cli("check", "--model", "preact20", *SMALL)
    assert result.status == 0, result.stdout + result.stderr
    assert "FAILED" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    record = gradflow.load_record("runs/preact20-1")
    assert set(record.checks["equation"]) == set("123456789")
    assert set(record.checks["dtype"]) == {"float32", "float64"}
    assert record.checks.query("expected_to_hold")["holds"].all()
    assert len(record.units) == 9


def test_post_activation_is_a_finding(cli) -> None:
    """On a post-activation network the deviations are findings with a reason, and the status is 0."""
    result = cli("check", "--model", "resnet20", *SMALL)
    assert result.status == 0, result.stderr
    assert "finding" in result.stdout
    assert "not expected to hold on" in result.stdout


def test_json_has_the_checks(cli) -> None:
    """`--format json` prints the checks alone, spans as pairs, of the equations asked for."""
    result = cli(
        "check", "--model", "preact20", *SMALL, "--equations", "5", "--spans", "0-2", "--format", "json"
    )
    value = json.loads(result.stdout, parse_constant=pytest.fail)
    assert set(value) == {"checks"}
    for row in value["checks"]:
        assert row["equation"] == "5"
        assert row["span"] == [0, 2]
        assert {"error", "tolerance", "holds", "expected_to_hold"} <= set(row)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--equations", "10"), "equation '10' is not checked; expected some of 1, 2, 3"),
        (("--spans", "1-4"), "span 1-4 cannot be compared: x_1 and x_4 must be of one stage"),
        (("--per-sample",), "bn='batch' lets batch normalisation couple the samples"),
        (("--spans", "0-2", "--equations", "9"), "equation 9 is about the whole network"),
    ],
    ids=["no such equation", "a span across a stage", "samples that are coupled", "a span of eq. 9"],
)
def test_what_cannot_be_checked_is_refused(cli, options: tuple[str, ...], words: str) -> None:
    """An equation that does not exist, a span across a stage, coupled samples: one line, status 2."""
    assert words in cli("check", "--model", "preact20", *SMALL, *options).error


def test_what_spans_leave_out_is_said(cli) -> None:
    """A transition's equation 1 is checked; with the default equations a line names what is left out."""
    one = cli("check", "--model", "preact20", *SMALL, "--equations", "1", "--spans", "3-4")
    assert one.status == 0, one.stderr
    assert "skipped" not in one.stderr
    result = cli("check", "--model", "preact20", *SMALL, "--spans", "3-4")
    assert result.status == 0, result.stderr
    assert "gradflow: equation 9 skipped: it is about the whole network" in result.stderr
    assert "equations 4, 5, 7, 8 on span 3-4 skipped: its ends have different shapes" in result.stderr
    skipped = gradflow.load_record("runs/preact20-2").meta["skipped"]
    assert "equation 9" in {item["what"] for item in skipped}


def test_single_samples_are_checked_where_they_are_single(cli) -> None:
    """With frozen statistics every sample is held to the tolerance."""
    result = cli(
        "check", "--model", "preact20", *SMALL, "--per-sample", "--bn", "frozen", "--equations", "4,5,8"
    )
    assert result.status == 0, result.stdout + result.stderr


def test_a_model_without_identity_units_is_told(cli) -> None:
    """Where no unit is of the form of eq. 3, that is said in a line, and the deviations are findings."""
    result = cli("check", "--model", "resnet20", *SMALL, "--equations", "3,5")
    assert result.status == 0
    assert "in no unit are both h and f identities: equations 3 to 5" in result.stderr


def test_a_plain_network_has_its_blocks_product(cli) -> None:
    """Named blocks of a plain network are checked as a product; without names it is refused."""
    blocks = ("--units", "stage[1-3].[0-9]+", "--equations", "plain", "--format", "json")
    rows = json.loads(cli("check", "--model", "plain20", *SMALL, *blocks).stdout)["checks"]
    assert {row["form"] for row in rows} == {"product", "jacobians"}
    assert all(row["holds"] for row in rows if row["form"] == "jacobians")
    assert "--units" in cli("check", "--model", "plain20", *SMALL).error


def test_nan_weights_fail(cli, tmp_path) -> None:
    """A checkpoint with a NaN makes checks fail with status 1: it is never taken for agreement."""
    weights = gradflow.build_model("preact20", width=4).state_dict()
    weights["stage1.1.branch.conv1.weight"][0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    result = cli("check", "--model", "preact20", *SMALL, "--checkpoint", str(tmp_path / "nan.pt"))
    assert result.status == 1
    assert "a term is not finite" in result.stdout


@pytest.mark.parametrize(
    ("model", "bad", "options"),
    [
        ("resnet14", "stage2.1.branch.conv1.weight", ("--equations", "9")),
        ("preact14", "head.weight", ("--equations", "1,2,3,4")),
        ("preact14", "stage3.1.branch.conv1.weight", ("--equations", "4", "--spans", "0-2")),
    ],
    ids=["nothing is evaluated", "in the head alone", "in another branch"],
)
def test_a_nan_that_no_term_sees_fails(cli, tmp_path, model: str, bad: str, options: tuple[str, ...]) -> None:
    """The status is 1, and one line names the parameter; without the NaN it is 0, and none does."""
    assert cli("check", "--model", model, *SMALL, *options).status == 0
    weights = gradflow.build_model(model, width=4).state_dict()
    weights[bad].view(-1)[0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    result = cli("check", "--model", model, *SMALL, *options, "--checkpoint", str(tmp_path / "nan.pt"))
    assert result.status == 1
    line = f"gradflow: {bad} and the loss are not finite in float32 and float64, so no check of this network"
    assert result.stderr.count(line) == 1
    assert "exceeds" not in result.stdout


def test_a_network_of_zeros_is_told(cli, tmp_path) -> None:
    """That 0 = 0 is no agreement: no check holds, none failed, and a line says how many compared nothing."""
    weights = gradflow.build_model("preact20", width=4).state_dict()
    zeros = {name: torch.zeros_like(value) for name, value in weights.items()}
    torch.save(zeros, tmp_path / "zeros.pt")
    options = ("--equations", "1,2,3,4,5", "--checkpoint", str(tmp_path / "zeros.pt"), "--format", "json")
    result = cli("check", "--model", "preact20", *SMALL, *options)
    assert result.status == 0
    checks = json.loads(result.stdout)["checks"]
    assert not any(row["holds"] for row in checks)
    empty = [row for row in checks if "nothing to compare" in (row["finding"] or "")]
    assert empty
    assert f"in {len(empty)} of {len(checks)} checks every term was zero" in result.stderr


def test_span_beyond_the_network_is_refused(cli) -> None:
    """A span that the network does not have is one line."""
    assert "99" in cli("check", "--model", "preact20", *SMALL, "--spans", "0-99").error


def test_failed_check_is_status_1(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that was expected to hold and does not is named, and the status is 1."""
    right = equations.check

    def perturbed(*arguments, **options):
        record = right(*arguments, **options)
        record.checks["error"] = 1.0
        record.checks["holds"] = pd.array([False] * len(record.checks), dtype="boolean")
        return record

    monkeypatch.setattr(equations, "check", perturbed)
    result = cli("check", "--model", "preact20", *SMALL, "--equations", "3")
    assert result.status == 1
    assert "FAILED" in result.stdout
    assert "were expected to hold and did not" in result.stderr
