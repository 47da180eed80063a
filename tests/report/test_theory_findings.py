"""What a report says of theory: sentences, table and figure, where a run meets the conditions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import gradflow
from gradflow.report import write_report
from gradflow.report.theory_findings import describe_theory
from gradflow.theory import LAWS, judge


def verdicts(**changes: object) -> pd.DataFrame:
    """One judged law."""
    row = {"law": "branch_share", "stage": 0, "value": 1.02, "value_low": 0.98, "value_high": 1.06}
    return pd.DataFrame(
        [{**row, "seeds": 10, "predicted": 1.0, "outside": "", "verdict": "agrees"} | changes]
    )


def test_a_sentence_has_prediction_source_measurement_and_verdict() -> None:
    """One sentence a law, with its interval."""
    (sentence,) = describe_theory(verdicts())
    assert "predicted to be 1 (De & Smith 2020" in sentence.striptags()
    assert "measured 1.02 (0.98 to 1.06)" in sentence
    assert sentence.endswith("It agrees.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": "disagrees"}, "It disagrees."),
        (
            {"verdict": "undecided", "seeds": 1, "value_low": float("nan")},
            "Of fewer than 10 seeds nothing is",
        ),
    ],
)
def test_the_verdict_is_said(changes: dict[str, object], words: str) -> None:
    """A disagreement is said as plainly as an agreement."""
    (sentence,) = describe_theory(verdicts(**changes))
    assert words in sentence


def judged(values: np.ndarray, stage: int = 0) -> pd.DataFrame:
    """Return the verdict on an inequality, "above 0", over as many seeds as there are values."""
    rows = {"law": "earlier_larger", "seed": range(len(values)), "value": values, "predicted": 0.0}
    return judge(pd.DataFrame({**rows, "outside": "", "stage": stage}), LAWS, by=("stage",))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.linspace(1, 1.2, 1), "Of fewer than 10 seeds nothing is decided: --seeds 0-9 measures so many."),
        (np.linspace(1, 1.2, 9), "Of fewer than 10 seeds nothing is decided: --seeds 0-9 measures so many."),
        (np.linspace(-1, 1.2, 10), "The interval reaches to both sides of it, so nothing is decided."),
    ],
    ids=["one seed", "nine seeds", "ten seeds on both sides"],
)
def test_why_nothing_is_decided_is_said(values: np.ndarray, words: str) -> None:
    """More seeds are asked for where there are too few, and not where their interval is too wide."""
    (sentence,) = describe_theory(judged(values))
    assert sentence.endswith(words)
    assert sentence.count("decided") == 1


def test_stages_that_are_undecided_are_counted() -> None:
    """Each reason says of how many stages it is the reason."""
    both = pd.concat([judged(np.linspace(-1, 1.2, 10)), judged(np.linspace(1, 1.2, 10), stage=1)])
    (sentence,) = describe_theory(both)
    assert "It agrees in 1 of 2; the interval reaches to both sides" in sentence
    assert sentence.endswith("(in 1 of 2).")


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
