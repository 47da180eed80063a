"""Checks that cannot fail prove nothing: each one is shown something wrong, and says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cases
import pandas as pd
import pytest
import torch
from small_networks import Chain, labels, rows, seeded

from gradflow import check
from gradflow.equations import checking
from gradflow.equations.evaluation import evaluate
from gradflow.equations.statements import NUMBERS
from gradflow.probing.capture import Capture, captured

THOUSANDTH = 1e-3


@contextmanager
def opened() -> Iterator[Capture]:
    """Open a capture of a chain of five identity units in float64."""
    model = seeded(lambda: Chain(units=5)).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        yield capture


def checks_after(spoil: Callable[[Capture], None] | None, spans=None) -> pd.DataFrame:
    """Return the checks on a capture that `spoil` has changed."""
    with opened() as capture:
        if spoil is not None:
            spoil(capture)
        return pd.DataFrame(evaluate(capture, NUMBERS, spans, "float64"))


def failing(checks: pd.DataFrame, equation: str, form: str) -> set[tuple[int, int]]:
    """Return the spans on which a statement does not hold."""
    chosen = checks[(checks["equation"] == equation) & (checks["form"] == form) & ~checks["holds"]]
    return set(zip(chosen["span_start"], chosen["span_end"], strict=True))


def spans_of(checks: pd.DataFrame, equation: str, form: str, unit: int | None = None) -> set[tuple[int, int]]:
    """Return the spans of a statement, or those of them that hold `unit`."""
    chosen = checks[(checks["equation"] == equation) & (checks["form"] == form)]
    spans = set(zip(chosen["span_start"], chosen["span_end"], strict=True))
    return {span for span in spans if unit is None or span[0] <= unit < span[1]}


STATEMENTS = (("3", "forward"), ("4", "forward"), ("5", "telescoped"), ("5", "vjp"))


def test_nothing_fails_unspoilt() -> None:
    """The control of the controls: as captured, everything holds."""
    checks = checks_after(None)
    assert checks["holds"].all()
    assert checks["expected_to_hold"].all()


@pytest.mark.parametrize("unit", range(5))
def test_a_changed_branch_value_is_caught(unit: int) -> None:
    """F_i off by one part in a thousand fails eq. 3 on unit i and eq. 4 on the spans that hold it, alone."""

    def spoil(capture: Capture) -> None:
        capture.branches[unit] = capture.branches[unit] * (1 + THOUSANDTH)

    checks = checks_after(spoil)
    for statement in STATEMENTS[:2]:
        assert failing(checks, *statement) == spans_of(checks, *statement, unit)
    for statement in STATEMENTS[2:]:
        assert failing(checks, *statement) == set()


@pytest.mark.parametrize("unit", range(5))
def test_a_changed_branch_part_is_caught(unit: int) -> None:
    """b_i off by one part in a thousand fails the telescoped form on every span that holds i, alone."""

    def spoil(capture: Capture) -> None:
        capture.branch_parts[unit] = capture.branch_parts[unit] * (1 + THOUSANDTH)

    checks = checks_after(spoil)
    assert failing(checks, "5", "telescoped") == spans_of(checks, "5", "telescoped", unit)
    for statement in (*STATEMENTS[:2], STATEMENTS[3]):
        assert failing(checks, *statement) == set()


@pytest.mark.parametrize("position", range(5))
def test_a_changed_gradient_is_caught(position: int) -> None:
    """∂E/∂x_l off by one part in a thousand fails eq. 5, in both forms, on spans that start or end there."""

    def spoil(capture: Capture) -> None:
        port = capture.units[position].fork
        capture.gradients[port] = capture.gradients[port] * (1 + THOUSANDTH)

    checks = checks_after(spoil)
    for statement in STATEMENTS[2:]:
        touched = {span for span in spans_of(checks, *statement) if position in span}
        assert failing(checks, *statement) == touched
    for statement in STATEMENTS[:2]:
        assert failing(checks, *statement) == set()


@pytest.mark.parametrize("position", range(5))
def test_a_changed_value_is_caught(position: int) -> None:
    """x_l off by one part in a thousand fails eq. 3 and 4 on the spans that start or end there."""

    def spoil(capture: Capture) -> None:
        port = capture.units[position].fork
        capture.values[port] = capture.values[port] * (1 + THOUSANDTH)

    checks = checks_after(spoil)
    for statement in STATEMENTS[:2]:
        touched = {span for span in spans_of(checks, *statement) if position in span}
        assert failing(checks, *statement) == touched
    for statement in STATEMENTS[2:]:
        assert failing(checks, *statement) == set()


@pytest.mark.parametrize("element", [0, 7])
def test_a_single_changed_element_is_caught(element: int) -> None:
    """One element of one gradient is enough."""

    def spoil(capture: Capture) -> None:
        gradient = capture.gradients[capture.units[2].fork].clone()
        gradient.view(-1)[element] *= 1 + THOUSANDTH
        capture.gradients[capture.units[2].fork] = gradient

    assert (2, 5) in failing(checks_after(spoil), "5", "telescoped")


def test_exchanged_branches_are_caught() -> None:
    """Two branches' values in each other's place fail eq. 3 on both, while their sum hides it from eq. 4."""

    def spoil(capture: Capture) -> None:
        capture.branches[1], capture.branches[2] = capture.branches[2], capture.branches[1]

    checks = checks_after(spoil)
    assert failing(checks, "3", "forward") == {(1, 2), (2, 3)}
    assert (0, 5) not in failing(checks, "4", "forward")
    assert (0, 2) in failing(checks, "4", "forward")


@pytest.mark.parametrize("unit", [0, 2, 4])
@pytest.mark.parametrize("statement", [("4", "forward"), ("5", "telescoped")])
def test_detectable_is_honest(unit: int, statement: tuple[str, str]) -> None:
    """A change three times as large as the row says it would catch is caught, one of a hundredth is not."""
    honest = checks_after(None)
    chosen = (honest["equation"] == statement[0]) & (honest["form"] == statement[1])
    row = honest[chosen & (honest["span_start"] == 0) & (honest["span_end"] == 5)].iloc[0]
    for factor, caught in ((3.0, True), (0.01, False)):

        def spoil(capture: Capture, change: float = factor * row["detectable"]) -> None:
            terms = capture.branches if statement[0] == "4" else capture.branch_parts
            sizes = [float(term.norm()) for term in terms]
            # What is promised is for the smallest term; for another the same residual is a smaller change.
            terms[unit] = terms[unit] * (1 + change * min(sizes) / sizes[unit])

        assert ((0, 5) in failing(checks_after(spoil), *statement)) is caught


def test_detectable_is_small_enough_to_be_of_use() -> None:
    """In float64 every row would catch one part in a thousand by far; in float32 nearly so."""
    model = cases.ZOO[0].build()
    checks = check(model, cases.ZOO[0].inputs(), cases.ZOO[0].targets()).checks
    identity = checks[checks["expected_to_hold"]]
    assert (identity[identity["dtype"] == "float64"]["detectable"] < 1e-9).all()
    assert (identity[identity["dtype"] == "float32"]["detectable"] < 1e-2).all()


def test_nan_never_passes() -> None:
    """With a NaN among the weights no span that it reaches holds, and none has an error."""
    model = seeded(lambda: Chain(units=3))
    with torch.no_grad():
        model.branches[1][2].bias[0] = math.nan
    checks = check(model, rows(), labels()).checks
    reached = (checks["equation"] == "5") | (checks["span_end"] > 1)
    assert not checks[reached]["holds"].any()
    assert checks[reached]["error"].isna().all()
    assert checks[reached]["detectable"].isna().all()
    assert (checks[reached]["finding"] == "a term is not finite").all()
    assert checks[~reached]["holds"].all()


def test_overflow_never_passes() -> None:
    """Nor does a network whose values overflow, and no warning of a library's comes through."""
    model = seeded(lambda: Chain(units=3))
    with torch.no_grad():
        model.branches[1][2].bias[0] = math.inf
    checks = check(model, rows(), labels()).checks
    assert not checks[checks["span_end"] > 1]["holds"].any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_element_never_passes(bad: float) -> None:
    """A single NaN or infinity in one captured tensor takes away the verdict, not the failure."""

    def spoil(capture: Capture) -> None:
        capture.branches[0].view(-1)[0] = bad
        capture.branch_parts[0].view(-1)[0] = bad

    checks = checks_after(spoil)
    for statement in STATEMENTS[:3]:
        assert failing(checks, *statement) == spans_of(checks, *statement, 0)
    assert checks[~checks["holds"]]["error"].isna().all()


def test_a_perturbed_shortcut_is_caught_by_the_whole_check(monkeypatch) -> None:
    """If one unit's identity were secretly 1.001 x, `check` as a user calls it would say so."""
    real = checking.captured

    @contextmanager
    def spoilt(*given, **options) -> Iterator[Capture]:
        with real(*given, **options) as capture:
            port = capture.units[1].fork
            capture.values[port] = capture.values[port] * (1 + THOUSANDTH)
            yield capture

    monkeypatch.setattr(checking, "captured", spoilt)
    checks = check(seeded(Chain), rows(), labels(), equations="3", dtypes=[torch.float64]).checks
    assert checks["holds"].tolist() == [False, False, True]
    assert checks["expected_to_hold"].all()
