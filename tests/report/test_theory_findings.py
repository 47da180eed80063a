"""What a report says of theory: sentences, table and figure, where a run meets the conditions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

import gradflow
from gradflow.report import write_report
from gradflow.report.theory_findings import describe_theory


def verdicts(**changes: object) -> pd.DataFrame:
    """One judged law."""
    row = {"law": "branch_share", "stage": 0, "value": 1.02, "value_low": 0.98, "value_high": 1.06}
    return pd.DataFrame(
        [{**row, "seeds": 10, "predicted": 1.0, "outside": "", "verdict": "agrees"} | changes]
    )


def test_a_sentence_has_prediction_source_measurement_and_verdict() -> None:
    """One sentence a law, with its interval."""
    (sentence,) = describe_theory(verdicts())
    assert "predicted to be 1 (De & Smith 2020" in sentence
    assert "measured 1.02 (0.98 to 1.06)" in sentence
    assert sentence.endswith("It agrees.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "disagrees"}, "It disagrees."),
        ({"verdict": "undecided", "value_low": float("nan")}, "One pass has no interval"),
    ],
)
def test_the_verdict_is_said(changes: dict[str, object], words: str) -> None:
    """A disagreement is said as plainly as an agreement."""
    (sentence,) = describe_theory(verdicts(**changes))
    assert words in sentence


def test_what_is_out_of_its_conditions_is_left_to_the_table() -> None:
    """No sentence about a prediction that is not about the run."""
    outside = verdicts(verdict="out of its conditions", outside="the prediction is about training")
    assert list(describe_theory(outside)) == []


def test_a_probed_run_has_theory_on_its_page(tmp_path: Path) -> None:
    """An untrained pre-activation network's page has the sentences, the table and the dashed figure."""
    model, images = gradflow.build_model("preact20", seed=0), torch.randn(2, 3, 16, 16)
    record = gradflow.probe(model, images, torch.tensor([1, 2]), meta={"model": {"name": "preact20"}})
    record.save(tmp_path / "run")
    page = write_report([tmp_path / "run"], tmp_path / "out").read_text(encoding="utf-8")
    assert "branch share Var(F) / Var(y)" in page
    assert "Theory beside measurement" in page
    assert (tmp_path / "out" / "report" / "branch-share.svg").is_file()
