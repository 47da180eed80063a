"""`gradflow check`: what it prints, saves and exits with."""

from __future__ import annotations

import json

import pandas as pd
import pytest

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
    assert set(record.checks["equation"]) == {"3", "4", "5"}
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
