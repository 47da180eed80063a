"""Verdicts: the prediction against the interval over seeds, and conditions that are not met."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gradflow.theory import LAWS, OUTSIDE, judge


@pytest.mark.parametrize(
    ("law", "values", "predicted", "outside", "verdict"),
    [
        ("exponent", [2.0, 2.2, 2.3], 2.152, "", "agrees"),
        ("exponent", [2.001, 2.0, 1.999], 2.152, "", "agrees within 10 %"),
        ("exponent", [1.501, 1.5, 1.499], 2.152, "", "disagrees"),
        ("exponent", [2.0, 2.2, 2.3], 2.152, "no", "out of its conditions"),
        ("exponent", [2.0, 2.2, 2.3], np.nan, "", "no prediction"),
        ("exponent", [2.0], 2.152, "", "undecided"),
        ("parameter_gradient_flat", [0.1, 0.11, 0.12], 0.0, "", "disagrees"),
        ("polynomial", [0.1, 0.11, 0.12], 0.0, "", "agrees"),
        ("polynomial", [-0.1, 0.11, 0.12], 0.0, "", "undecided"),
        ("polynomial", [-0.1, -0.11, -0.12], 0.0, "", "disagrees"),
        ("gain_nears_one", [-0.8, -0.9, -0.85], 0.0, "", "agrees"),
        ("gain_nears_one", [0.8, 0.9, 0.85], 0.0, "", "disagrees"),
    ],
)
def test_verdicts_follow_the_stated_rule(
    law: str, values: list[float], predicted: float, outside: str, verdict: str
) -> None:
    """The prediction against the interval over seeds, in each case of the rule."""
    values = values if len(values) == 1 else [*values, *values, *values, values[1]]
    rows = pd.DataFrame({"seed": range(len(values)), "value": values})
    assert judge(rows.assign(law=law, predicted=predicted, outside=outside), LAWS)["verdict"].tolist() == [
        verdict
    ]


def test_the_interval_is_students_over_seeds() -> None:
    """Mean ± t s / √n of ten values, with t = 2.262 from a table; cases are told apart by `by`."""
    values = np.arange(10.0)
    rows = pd.DataFrame({"seed": np.arange(10), "value": values, "predicted": 4.0, "outside": ""})
    both = pd.concat([rows.assign(stage=0), rows.assign(stage=1, value=values + 100)])
    verdicts = judge(both.assign(law="exponent"), LAWS, by=["stage"])
    half = 2.262 * values.std(ddof=1) / np.sqrt(10)
    assert verdicts["stage"].tolist() == [0, 1]
    assert verdicts["seeds"].tolist() == [10, 10]
    assert verdicts.loc[0, ["value_low", "value_high"]].tolist() == pytest.approx(
        [4.5 - half, 4.5 + half], rel=1e-3
    )
    assert verdicts["verdict"].tolist() == ["agrees", "disagrees"]


@pytest.mark.parametrize(("seeds", "decided"), [(9, "undecided"), (10, "agrees")])
def test_fewer_than_ten_seeds_decide_nothing(seeds: int, decided: str) -> None:
    """However close they lie together, and however many batches each has."""
    values = np.tile(np.linspace(1.9, 2.4, 5), 8)
    rows = pd.DataFrame({"seed": np.repeat(np.arange(seeds), 4), "value": values[: 4 * seeds]})
    rows = rows.assign(batch_index=np.tile(np.arange(4), seeds), law="exponent", predicted=2.15, outside="")
    (verdict,) = judge(rows, LAWS).to_dict("records")
    assert (verdict["seeds"], verdict["verdict"]) == (seeds, decided)
    assert verdict["value_low"] < 2.15 < verdict["value_high"]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_seeds_without_a_number_are_none(bad: float) -> None:
    """Nine numbers and one that is none are nine seeds."""
    rows = pd.DataFrame({"seed": range(10), "value": [2.1, 2.2] * 5, "predicted": 2.15, "outside": ""})
    rows.loc[4, "value"] = bad
    (verdict,) = judge(rows.assign(law="exponent"), LAWS).to_dict("records")
    assert (verdict["seeds"], verdict["verdict"]) == (9, "undecided")


@pytest.mark.parametrize("seed", [0, 7])
def test_one_seed_out_of_the_conditions_is_enough(seed: int) -> None:
    """Whichever it is, the law is not judged."""
    rows = pd.DataFrame({"seed": range(10), "value": [2.1, 2.2] * 5, "predicted": 2.15, "outside": ""})
    rows.loc[seed, "outside"] = "it is not so"
    (verdict,) = judge(rows.assign(law="exponent"), LAWS).to_dict("records")
    assert (verdict["outside"], verdict["verdict"]) == ("it is not so", "out of its conditions")


def test_batches_of_one_seed_have_no_interval() -> None:
    """They are one network's, and say nothing of others."""
    rows = pd.DataFrame({"seed": 0, "batch_index": range(20), "value": np.linspace(2, 2.3, 20)})
    (verdict,) = judge(rows.assign(law="exponent", predicted=2.15, outside=""), LAWS).to_dict("records")
    assert verdict["seeds"] == 1
    assert np.isnan(verdict["value_low"])
    assert verdict["verdict"] == "undecided"


def test_nothing_measured_gives_no_verdict() -> None:
    """An empty frame has the columns of a full one."""
    empty = judge(pd.DataFrame(), LAWS, by=["stage"])
    assert empty.empty
    assert {"law", "stage", "value_low", "predicted", "verdict"} <= set(empty)


def test_conditions_say_what_is_not_met() -> None:
    """A law is outside in the first condition that is broken, or that nothing is known about."""
    setting = {"bn": "frozen", "padded_channels": False, "architecture": "preact"}
    setting |= {"shortcut": "identity", "trained": False}
    law = LAWS["exponent"]
    assert law.outside(setting) == ""
    assert "constants" in law.outside(setting | {"bn": "batch"})
    assert "initialisation" in law.outside(setting | {"trained": True})
    del setting["shortcut"]
    assert "identity shortcuts" in law.outside(setting)


def test_every_law_has_words_and_a_source() -> None:
    """Each says what is measured, what is predicted and by whom."""
    for name, law in LAWS.items():
        assert law.title, name
        assert law.statement, name
        assert law.source, name
    assert OUTSIDE not in LAWS
