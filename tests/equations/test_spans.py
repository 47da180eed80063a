"""On which spans the equations are evaluated: the default ones, those asked for, those refused."""

from __future__ import annotations

import cases
import pandas as pd
import pytest
import torch
from small_networks import Chain, labels, rows, seeded

from gradflow import check
from gradflow.errors import ProbeError


def test_default_spans() -> None:
    """Eq. 3 on each unit; eq. 4 and 5 from a chain's start to each l and from each l to its end."""
    model = seeded(lambda: Chain(units=4))
    checks = check(model, rows(), labels(), dtypes=[torch.float64]).checks

    def spans(equation: str, form: str) -> set[tuple[int, int]]:
        chosen = checks[(checks["equation"] == equation) & (checks["form"] == form)]
        assert not chosen.duplicated(["span_start", "span_end"]).any()
        return set(zip(chosen["span_start"], chosen["span_end"], strict=True))

    both = {(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (2, 4), (3, 4)}
    assert spans("3", "forward") == {(0, 1), (1, 2), (2, 3), (3, 4)}
    assert spans("4", "forward") == both
    assert spans("5", "telescoped") == both
    assert spans("5", "vjp") == {(0, 4), (1, 4), (2, 4), (3, 4)}


@pytest.mark.parametrize("shortcut", [lambda x: x, lambda x: x * torch.sigmoid(x)], ids=["identity", "gate"])
def test_a_gradient_behind_relu_is_checked_unit_by_unit(shortcut) -> None:
    """Where f is ReLU, how far eq. 5 is off, and its exact form, are given for every single unit."""
    model = seeded(lambda: Chain(lambda x, f: torch.relu(shortcut(x) + f(x)), units=4))
    checks = check(model, rows(), labels(), equations="58", dtypes=[torch.float64]).checks
    for number, form in (("5", "telescoped"), ("8", "masked telescoped")):
        chosen = checks[(checks["equation"] == number) & (checks["form"] == form)]
        assert not chosen.duplicated(["span_start", "span_end"]).any()
        spans = set(zip(chosen["span_start"], chosen["span_end"], strict=True))
        assert spans >= {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 4), (2, 4)}
    masked = checks[checks["form"].str.startswith("masked")]
    assert masked["expected_to_hold"].all()
    assert masked["holds"].all(), masked[~masked["holds"]].to_string()


def test_spans_that_are_asked_for() -> None:
    """Any spans inside a chain may be asked for, and only those are checked."""
    model = seeded(lambda: Chain(units=5))
    asked = [(1, 4), (2, 3), (0, 5), (1, 3)]
    checks = check(model, rows(), labels(), spans=asked, dtypes=[torch.float64]).checks
    for form in ("telescoped", "vjp"):
        chosen = checks[checks["form"] == form]
        assert set(zip(chosen["span_start"], chosen["span_end"], strict=True)) == set(asked)
    assert checks["holds"].all()
    for number in ("1", "2", "3", "6"):
        assert set(checks[checks["equation"] == number]["span_start"]) == {2}


@pytest.mark.parametrize("number", ["1", "2", "3", "6"])
def test_a_single_unit_may_be_any(number: str) -> None:
    """What is said of one unit is evaluated on a unit that changes the shape, as without spans."""
    case = cases.ZOO[0]
    options = {"equations": number, "dtypes": [torch.float64]}
    every = check(case.build(), case.inputs(), case.targets(), **options)
    asked = check(case.build(), case.inputs(), case.targets(), spans=[(3, 4)], **options)
    expected = every.checks[every.checks["span_start"] == 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(asked.checks, expected)
    assert asked.meta["skipped"] == every.meta["skipped"]
    assert expected["holds"].all() == (number != "3")


def test_what_is_not_evaluated_on_spans_is_told() -> None:
    """Equation 9 has no spans, and sums have none where the shape changes: the record says so."""
    case = cases.ZOO[0]
    record = check(case.build(), case.inputs(), case.targets(), spans=[(3, 4), (0, 2)])
    assert set(record.checks["equation"]) == set("12345678")
    of_sums = record.checks[record.checks["equation"].isin(["4", "5", "7", "8"])]
    assert set(zip(of_sums["span_start"], of_sums["span_end"], strict=True)) == {(0, 2)}
    told = {item["what"]: item["why"] for item in record.meta["skipped"]}
    assert "whole network" in told["equation 9"]
    assert "different shapes" in told["equations 4, 5, 7, 8 on span 3-4"]
    whole = check(case.build(), case.inputs(), case.targets())
    assert not [item for item in whole.meta["skipped"] if item["what"].startswith("equation")]


@pytest.mark.parametrize("span", [(3, 4), (9, 10), (-1, 0)])
def test_a_single_unit_of_no_chain_has_no_sums(span: tuple[int, int]) -> None:
    """Where only sums are asked for, or there is no such unit, the span is refused."""
    case = cases.ZOO[0]
    with pytest.raises(ProbeError, match=f"span {span[0]}-{span[1]} cannot be compared"):
        check(case.build(), case.inputs(), case.targets(), spans=[span], equations="45")
    if span != (3, 4):
        with pytest.raises(ProbeError, match="cannot be compared"):
            check(case.build(), case.inputs(), case.targets(), spans=[span], equations="1")


@pytest.mark.parametrize("span", [(1, 5), (2, 2), (4, 3), (0, 100), (-1, 2)])
def test_spans_that_cannot_be_compared_are_refused(span: tuple[int, int]) -> None:
    """A span across a stage, or of no unit, is refused; the error names the spans that there are."""
    case = cases.ZOO[0]
    with pytest.raises(ProbeError, match=r"cannot be compared.*inside 0-3, 4-6, 7-9$") as refusal:
        check(case.build(), case.inputs(), case.targets(), spans=[span])
    assert f"span {span[0]}-{span[1]} " in str(refusal.value)
