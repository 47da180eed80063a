"""The residual of a sum, its scale, and what a check of it can see: on arrays small enough for the head."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradflow.equations import EQUATIONS
from gradflow.equations.statements import NUMBERS, Residual, RunningSum, norm


def array(*values: float) -> np.ndarray:
    """Return a float64 array."""
    return np.array(values, dtype=np.float64)


def test_a_sum_that_holds() -> None:
    """(3, 4) + (1, 0) + (0, −4) = (4, 0): no residual; the scale is the sum of four norms."""
    running = RunningSum(array(3, 4))
    running.add(array(1, 0), array(3, 4))
    running.add(array(0, -4), array(4, 4))
    found = running.compare(array(4, 0))
    assert found == Residual(norm=0.0, scale=1 + 5 + 4 + math.sqrt(32), smallest=1.0)
    assert found.error == 0.0
    assert found.detectable(1e-3) == pytest.approx(1e-3 * (10 + math.sqrt(32)))


def test_a_sum_that_does_not_hold() -> None:
    """What is left over is measured as its norm, relative to the scale."""
    running = RunningSum(array(0, 0))
    running.add(array(3, 0), array(0, 1))
    found = running.compare(array(3, 2))
    assert (found.norm, found.scale) == (2.0, 4.0)
    assert found.error == 0.5


def test_a_span_can_be_looked_at_on_the_way() -> None:
    """Comparing does not end a sum: it grows on."""
    running = RunningSum(array(1))
    running.add(array(1), array(1))
    assert running.compare(array(2)).norm == 0
    running.add(array(5), array(2))
    assert running.compare(array(7)).norm == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
def test_terms_that_are_not_finite_give_no_error(bad: float) -> None:
    """NaN, infinity and norms that overflow never pass for a residual of 0."""
    running = RunningSum(array(1, 1))
    running.add(array(bad, 0), array(1, 1))
    found = running.compare(array(bad, 1))
    assert found.error is None
    assert found.detectable(1e-3) is None


def test_nothing_compared_with_nothing() -> None:
    """Where all terms are zero the statement holds; where only the scale is, there is no error to give."""
    assert Residual(norm=0.0, scale=0.0, smallest=0.0).error == 0.0
    assert Residual(norm=0.0, scale=0.0, smallest=0.0).detectable(1e-3) is None
    assert Residual(norm=1.0, scale=0.0, smallest=0.0).error is None


def test_a_branch_that_adds_nothing_has_nothing_to_detect() -> None:
    """No relative change of a term of zeros can be seen."""
    running = RunningSum(array(1, 2))
    running.add(array(0, 0), array(1, 2))
    assert running.compare(array(1, 2)).detectable(1e-3) is None


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    terms=st.lists(st.floats(0.1, 10), min_size=1, max_size=6),
    tolerance=st.floats(1e-6, 1e-2),
)
def test_detectable_is_the_edge_of_what_is_caught(terms: list[float], tolerance: float) -> None:
    """A change of the smallest term a little above `detectable` is caught, one a little below is not."""
    smallest = terms.index(min(terms))
    for factor, caught in ((1.01, True), (0.99, False)):
        running = RunningSum(array(1.0))
        position = 1.0
        for term in terms:
            running.add(array(term), array(position))
            position += term
        honest = running.compare(array(position))
        change = factor * honest.detectable(tolerance) * terms[smallest]
        off = running.compare(array(position + change))
        assert (off.error > tolerance) is caught


def test_equations_are_described() -> None:
    """Each equation in each form has its formula and meaning; the numbers are what `--equations` takes."""
    assert NUMBERS == ("3", "4", "5")
    assert {(equation.number, equation.form) for equation in EQUATIONS} == {
        ("3", "forward"),
        ("4", "forward"),
        ("5", "telescoped"),
        ("5", "vjp"),
    }
    assert all(equation.formula and equation.meaning for equation in EQUATIONS)


def test_norms_of_flat_arrays() -> None:
    """The norm is Euclidean, and infinite or NaN without a warning where it has to be."""
    assert norm(array(3, -4)) == 5.0
    assert norm(array(1e200, 1e200)) == math.inf
    assert math.isnan(norm(array(math.nan)))
