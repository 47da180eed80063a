"""Checks that cannot fail prove nothing: each one is shown something wrong, and says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cases
import pandas as pd
import pytest
import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded

from gradflow import check
from gradflow.equations import checking
from gradflow.equations.evaluation import evaluate
from gradflow.probing import capture as capture_module
from gradflow.probing.capture import Capture, captured
from gradflow.statements import NUMBERS

THOUSANDTH = 1e-3


EVALUATED = [number for number in NUMBERS if number not in {"9", "plain"}]


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
        return pd.DataFrame(evaluate(capture, EVALUATED, spans, "float64"))


def failing(checks: pd.DataFrame, equation: str, form: str) -> set[tuple[int, int]]:
    """Return the spans on which a statement does not hold."""
    chosen = checks[(checks["equation"] == equation) & (checks["form"] == form) & ~checks["holds"]]
    return set(zip(chosen["span_start"], chosen["span_end"], strict=True))


def spans_of(checks: pd.DataFrame, equation: str, form: str, unit: int | None = None) -> set[tuple[int, int]]:
    """Return the spans of a statement, or those of them that hold `unit`."""
    chosen = checks[(checks["equation"] == equation) & (checks["form"] == form)]
    spans = set(zip(chosen["span_start"], chosen["span_end"], strict=True))
    return {span for span in spans if unit is None or span[0] <= unit < span[1]}


OF_F = tuple((number, "forward") for number in ("1", "3", "4", "6", "7"))
OF_X = tuple((number, "forward") for number in ("3", "4", "6", "7"))
TELESCOPED = (("5", "telescoped"), ("8", "telescoped"))
VJP = (("5", "vjp"), ("8", "vjp"))
BLOCKED = (("8", "blocked"),)
STATEMENTS = (*OF_F, ("2", "forward"), *TELESCOPED, *VJP, *BLOCKED)


def test_nothing_fails_unspoilt() -> None:
    """The control of the controls: as captured, everything holds."""
    checks = checks_after(None)
    assert checks["holds"].all()
    assert checks["expected_to_hold"].all()
    assert set(zip(checks["equation"], checks["form"], strict=True)) == set(STATEMENTS)


def assert_only(checks: pd.DataFrame, statements, touched: Callable[[set], set]) -> None:
    """Assert that of all statements these fail, on the spans that `touched` picks from all spans."""
    for statement in STATEMENTS:
        expected = touched(spans_of(checks, *statement)) if statement in statements else set()
        assert failing(checks, *statement) == expected, statement


def holding(unit: int) -> Callable[[set], set]:
    """Pick the spans that hold a unit."""
    return lambda spans: {span for span in spans if span[0] <= unit < span[1]}


def ending(position: int) -> Callable[[set], set]:
    """Pick the spans that start or end at a position."""
    return lambda spans: {span for span in spans if position in span}


@pytest.mark.parametrize("unit", range(5))
def test_a_changed_branch_value_is_caught(unit: int) -> None:
    """F_i off by one part in a thousand fails all that is said of signals, where i is in it, and no more."""

    def spoil(capture: Capture) -> None:
        capture.branches[unit] = capture.branches[unit] * (1 + THOUSANDTH)

    assert_only(checks_after(spoil), OF_F, holding(unit))


@pytest.mark.parametrize("unit", range(5))
def test_a_changed_branch_part_is_caught(unit: int) -> None:
    """b_i off by one part in a thousand fails the telescoped forms on every span that holds i, alone."""

    def spoil(capture: Capture) -> None:
        capture.branch_parts[unit] = capture.branch_parts[unit] * (1 + THOUSANDTH)

    assert_only(checks_after(spoil), TELESCOPED, holding(unit))


@pytest.mark.parametrize("position", range(5))
def test_a_changed_gradient_is_caught(position: int) -> None:
    """∂E/∂x_l off by one part in a thousand fails eq. 5 and 8 on spans that start or end there."""

    def spoil(capture: Capture) -> None:
        port = capture.units[position].fork
        capture.gradients[port] = capture.gradients[port] * (1 + THOUSANDTH)

    assert_only(checks_after(spoil), (*TELESCOPED, *VJP), ending(position))


@pytest.mark.parametrize("position", range(5))
def test_a_changed_value_is_caught(position: int) -> None:
    """x_l off by one part in a thousand fails eq. 3, 4, 6 and 7 on the spans that start or end there.

    The same value is y of the unit before: eq. 1 and 2 fail on that one.
    """

    def spoil(capture: Capture) -> None:
        port = capture.units[position].fork
        capture.values[port] = capture.values[port] * (1 + THOUSANDTH)

    checks = checks_after(spoil)
    for statement in STATEMENTS:
        expected = ending(position)(spans_of(checks, *statement)) if statement in OF_X else set()
        if statement in {("1", "forward"), ("2", "forward")} and position > 0:
            expected = {(position - 1, position)}
        assert failing(checks, *statement) == expected, statement


@pytest.mark.parametrize("unit", range(5))
def test_a_leak_in_the_blocked_pass_is_caught(unit: int, monkeypatch) -> None:
    """If a thousandth of what goes into one branch got through, the blocked form would say so."""
    calls = iter(range(5))

    def leaking(shortcut: int, grad_inputs: tuple, grad_outputs: tuple) -> tuple:
        leaks = THOUSANDTH if 4 - next(calls) == unit else 0.0
        return tuple(part if i == shortcut else part * leaks for i, part in enumerate(grad_inputs))

    monkeypatch.setattr(capture_module, "hand_on_to", leaking)
    checks = checks_after(None)
    assert failing(checks, "8", "blocked") == {(first, 5) for first in range(unit + 1)}


@pytest.mark.parametrize("unit", range(5))
def test_a_changed_product_with_the_sum_of_branches_is_caught(unit: int, monkeypatch) -> None:
    """(∂ΣF/∂x_l)ᵀ ∂E/∂x_L off by one part in a thousand fails the paper's own form there."""
    real = Capture.branch_sum_vjps

    def spoilt(self: Capture, first: int, cotangents) -> list:
        found = real(self, first, cotangents)
        found[unit - first] = found[unit - first] * (1 + THOUSANDTH)
        return found

    monkeypatch.setattr(Capture, "branch_sum_vjps", spoilt)
    assert_only(checks_after(None), VJP, lambda spans: {span for span in spans if span[0] == unit})


@pytest.mark.parametrize("element", [0, 7])
def test_a_single_changed_element_is_caught(element: int) -> None:
    """One element of one gradient is enough."""

    def spoil(capture: Capture) -> None:
        gradient = capture.gradients[capture.units[2].fork].clone()
        gradient.view(-1)[element] *= 1 + THOUSANDTH
        capture.gradients[capture.units[2].fork] = gradient

    assert (2, 5) in failing(checks_after(spoil), "5", "telescoped")


@pytest.mark.parametrize("sample", [0, 4])
def test_one_sample_off_is_caught_where_each_is_held_to_the_tolerance(sample: int) -> None:
    """A small sample that is off by a thousandth is lost in the batch's norm, and is not in its own."""

    def verdicts(*, spoilt: bool, per_sample: bool) -> pd.DataFrame:
        inputs = rows(dtype=torch.float64)
        # All of this sample's terms are a thousand million million times smaller than the others'.
        inputs[sample] *= 1e-15
        model = LinearBranches(*[torch.eye(4) / 2] * 3).double()
        with captured(model, inputs, loss=torch.sum) as capture:
            if spoilt:
                capture.branches[1][sample] *= 1 + THOUSANDTH
            found = evaluate(capture, ["1", "3", "4"], None, "float64", per_sample=per_sample)
            return pd.DataFrame(found)

    assert verdicts(spoilt=False, per_sample=True)["holds"].all()
    assert verdicts(spoilt=True, per_sample=False)["holds"].all()
    caught = verdicts(spoilt=True, per_sample=True)
    for statement in (("1", "forward"), ("3", "forward"), ("4", "forward")):
        assert failing(caught, *statement) == spans_of(caught, *statement, 1)


def test_samples_that_are_not_compared_are_counted() -> None:
    """A sample that is zero throughout neither holds nor fails, and it is said that it was left out."""
    inputs = rows(dtype=torch.float64)
    inputs[1] = 0
    model = LinearBranches(*[torch.eye(4) / 2] * 3).double()
    with captured(model, inputs, loss=torch.sum) as capture:
        found = pd.DataFrame(evaluate(capture, ["1", "4"], None, "float64", per_sample=True))
        whole = pd.DataFrame(evaluate(capture, ["1", "4"], None, "float64"))
    assert found["holds"].all()
    assert found["expected_to_hold"].all()
    left_out = f"1 of {len(inputs)} samples are zero in every term, and were not compared"
    assert (found["finding"] == left_out).all()
    assert whole["finding"].isna().all()


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
    detectable = identity[identity["form"] != "blocked"].dropna(subset="detectable")
    assert (detectable[detectable["dtype"] == "float64"]["detectable"] < 1e-9).all()
    assert (detectable[detectable["dtype"] == "float32"]["detectable"] < 1e-2).all()


def test_nan_never_passes() -> None:
    """With a NaN among the weights nothing holds; spans that it reaches have no error, others keep theirs."""
    model = seeded(lambda: Chain(units=3))
    with torch.no_grad():
        model.branches[1][2].bias[0] = math.nan
    checks = check(model, rows(), labels(), equations="12345678").checks
    reached = checks["equation"].isin(["5", "8"]) | (checks["span_end"] > 1)
    assert not checks["holds"].any()
    assert checks["expected_to_hold"].all()
    assert checks[reached]["error"].isna().all()
    assert checks[reached]["detectable"].isna().all()
    why = "branches.1.2.bias and the loss are not finite"
    assert (checks[reached]["finding"] == f"a term is not finite; {why}").all()
    assert (checks[~reached]["error"] <= checks[~reached]["tolerance"]).all()
    assert (checks[~reached]["finding"] == why).all()


def test_nan_fails_even_where_a_deviation_is_a_finding() -> None:
    """A post-activation network is off in eq. 3 to 5, which is a finding; a NaN in it is a failure."""
    model = seeded(lambda: Chain(lambda x, f: torch.relu(x + f(x))))
    honest = check(model, rows(), labels(), equations="345").checks
    unmasked = ~honest["form"].str.startswith("masked")
    assert not honest[unmasked]["expected_to_hold"].any()
    with torch.no_grad():
        model.branches[0][2].bias[0] = math.nan
    checks = check(model, rows(), labels(), equations="345").checks
    assert not checks["holds"].any()
    assert checks["expected_to_hold"].all()
    assert checks["finding"].str.contains("a term is not finite").all()


def test_overflow_never_passes() -> None:
    """Nor does a network whose values overflow, and no warning of a library's comes through."""
    model = seeded(lambda: Chain(units=3))
    with torch.no_grad():
        model.branches[1][2].bias[0] = math.inf
    checks = check(model, rows(), labels()).checks
    assert not checks[checks["span_end"] > 1]["holds"].any()


def test_a_network_of_zeros_holds_nothing() -> None:
    """Where every weight is zero, and so is every gradient, 0 = 0 neither holds nor fails."""
    model = seeded(lambda: Chain(units=3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    checks = check(model, rows(), labels(), equations="12345678").checks
    assert set(checks["equation"]) == set("12345678")
    assert not checks["holds"].any()
    assert not checks["expected_to_hold"].any()
    assert checks["error"].isna().all()
    assert (checks["finding"] == "every term is zero, so there was nothing to compare").all()


def test_zero_gradients_hold_nothing_backward() -> None:
    """A loss that does not change says nothing of gradients; what is said of signals is said as before."""
    checks = check(seeded(Chain), rows(), loss=lambda outputs: 0 * outputs.sum(), equations="12345678").checks
    backward = checks["equation"].isin(["5", "8"])
    assert not checks[backward]["holds"].any()
    assert not checks[backward]["expected_to_hold"].any()
    assert checks[backward]["finding"].str.contains("nothing to compare").all()
    assert checks[~backward]["holds"].all()
    assert checks[~backward]["finding"].isna().all()


def test_something_beside_zeros_fails() -> None:
    """If one branch is said to add what no other term has in it, that is no 'nothing to compare'."""

    def spoil(capture: Capture) -> None:
        for kept in (capture.values, capture.gradients):
            kept.update({port: torch.zeros_like(value) for port, value in kept.items()})
        for parts in (capture.branches, capture.shortcuts, capture.branch_parts):
            parts[:] = [torch.zeros_like(part) for part in parts]
        capture.branches[1] = capture.branches[1] + 1.0

    checks = checks_after(spoil)
    forward = checks[checks["equation"].isin(["1", "3", "4", "6", "7"])]
    reached = (forward["span_start"] <= 1) & (forward["span_end"] > 1)
    assert forward[reached]["expected_to_hold"].all()
    assert not forward["holds"].any()
    assert not forward[~reached]["expected_to_hold"].any()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_one_bad_element_never_passes(bad: float) -> None:
    """A single NaN or infinity in one captured tensor takes away the verdict, not the failure."""

    def spoil(capture: Capture) -> None:
        capture.branches[0].view(-1)[0] = bad
        capture.branch_parts[0].view(-1)[0] = bad

    checks = checks_after(spoil)
    for statement in (*OF_F, *TELESCOPED):
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
