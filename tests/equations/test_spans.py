"""On which spans the equations are evaluated: the default ones, those asked for, those refused."""

from __future__ import annotations

import cases
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


@pytest.mark.parametrize("span", [(1, 5), (2, 2), (4, 3), (0, 100), (-1, 2), (3, 4)])
def test_spans_that_cannot_be_compared_are_refused(span: tuple[int, int]) -> None:
    """A span across a stage, or of no unit, is refused; the error names the spans that there are."""
    case = cases.ZOO[0]
    with pytest.raises(ProbeError, match=r"cannot be compared.*inside 0-2, 2-3, 4-5, 5-6, 7-9$") as refusal:
        check(case.build(), case.inputs(), case.targets(), spans=[span])
    assert f"span {span[0]}-{span[1]} " in str(refusal.value)
