"""The residual of a sum, its scale, and what a check of it can see: on tensors small enough for the head."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradflow.equations.residuals import Norms, Residual
from gradflow.equations.sums import UNCHANGED, Against, Along, Carry

WHOLE = Norms()


def vector(*values: float) -> Tensor:
    """Return a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def number(value: float) -> np.ndarray:
    """Return one number as `Norms` gives it."""
    return np.array([value])


def along(start: Tensor, norms: Norms = WHOLE, *, varying: bool = False) -> Along:
    """Return a span that grows from `start`."""
    return Along(start, norms, norms(start), varying)


def against(end: Tensor) -> Against:
    """Return a span that grows from its end."""
    return Against(end, WHOLE, WHOLE(end))


def residual(norm: float, scale: float, smallest: float) -> Residual:
    """Return a residual of a whole batch."""
    return Residual(number(norm), number(scale), number(smallest))


def test_a_sum_that_holds() -> None:
    """(3, 4) + (1, 0) + (0, −4) = (4, 0): no residual; the scale is the sum of four norms."""
    running = along(vector(3, 4))
    running.add(vector(1, 0), number(1), number(5))
    running.add(vector(0, -4), number(4), number(math.sqrt(32)))
    found = running.compare(vector(4, 0), WHOLE(vector(4, 0)))
    scale = 10 + math.sqrt(32)
    assert (found.norm, found.scale, found.smallest) == (0, scale, 1)
    assert found.error == 0.0
    assert found.detectable(1e-3) == pytest.approx(1e-3 * scale / (1 - 1e-3 * scale))


def test_a_sum_that_does_not_hold() -> None:
    """What is left over is measured as its norm, relative to the scale."""
    running = along(vector(0, 0))
    running.add(vector(3, 0), number(3), number(1))
    found = running.compare(vector(3, 2), WHOLE(vector(3, 2)))
    assert (found.norm, found.scale) == (2.0, 4.0)
    assert found.error == 0.5


def test_the_start_is_left_alone() -> None:
    """What was captured is not changed by growing a span from it, in either direction."""
    start = vector(1, 2)
    for running in (along(start), against(start)):
        running.add(vector(1, 1), number(1), number(1), UNCHANGED)
        running.compare(vector(0, 0), number(0))
    assert start.tolist() == [1, 2]


def test_a_carried_sum_by_hand() -> None:
    """λ = ½ twice: x_2 = ¼ x_0 + ½ F_0 + F_1, and errors shrink as the terms do."""
    half = Carry(0.5, None, 0.5, 1.0)
    running = along(vector(8.0))
    for term, beside in ((4.0, 8.0), (2.0, 4.0)):
        running.carry(half)
        running.add(vector(term), number(term), number(beside))
    found = running.compare(vector(6.0), WHOLE(vector(6.0)))
    assert found.norm == 0
    assert found.scale == (4 + 8) / 2 + 2 + 4
    assert found.smallest == 2.0


def test_both_directions_agree() -> None:
    """A span multiplied out from its end leaves the residual of the same span grown from its start."""
    masks = [vector(1, 0, 1), vector(0, 1, 1)]
    terms, start, end = [vector(1, 2, 3), vector(4, 5, 6)], vector(1, 1, 1), vector(0, 7, 11)
    forth, back = along(start), against(end)
    for term, mask in zip(terms, masks, strict=True):
        forth.carry(Carry(0.5, None, 0.5))
        forth.add(term, WHOLE(term), number(1), Carry(mask))
    for term, mask in zip(reversed(terms), reversed(masks), strict=True):
        back.add(term, WHOLE(term), number(1), Carry(mask))
        back.carry(Carry(0.5, None, 0.5))
    assert forth.compare(end, WHOLE(end)).norm == back.compare(start, WHOLE(start)).norm
    assert forth.value.tolist() == [0, 5, 7.75]


def test_a_function_that_is_no_factor_is_measured() -> None:
    """Where a shortcut is more than a factor, errors grow as much as the value that it carries, or more."""
    running = along(vector(3, 4))
    running.add(vector(0, 0), number(0), number(1))
    running.carry(Carry(None, lambda value: 10 * value, gain=1.0))
    assert running.scale == 10


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
def test_terms_that_are_not_finite_give_no_error(bad: float) -> None:
    """NaN, infinity and norms that overflow never pass for a residual of 0."""
    running = along(vector(1, 1))
    running.add(vector(bad, 0), WHOLE(vector(bad, 0)), number(1))
    found = running.compare(vector(bad, 1), WHOLE(vector(bad, 1)))
    assert found.error is None
    assert found.detectable(1e-3) is None


def test_nothing_compared_with_nothing() -> None:
    """Where all terms are zero nothing was compared, and there is no error to give, not even 0."""
    nothing = residual(0.0, 0.0, 0.0)
    assert nothing.nothing
    assert nothing.error is None
    assert nothing.detectable(1e-3) is None
    assert residual(1.0, 0.0, 0.0).error is None
    assert not residual(1.0, 0.0, 0.0).nothing
    assert not residual(0.0, 1.0, 0.0).nothing
    assert not residual(math.nan, 0.0, 0.0).nothing


def test_a_sample_of_zeros_leaves_the_verdict_to_the_others() -> None:
    """Among samples one may be zero throughout; the error is that of the rest."""
    both = Residual(np.array([0.0, 1.0]), np.array([0.0, 4.0]), np.array([0.0, 2.0]))
    assert both.error == 0.25
    assert not both.nothing


def test_what_is_left_already_counts_in_what_is_detectable() -> None:
    """(t S + r) / (c − t S) by hand: S = 4, r = 0.002, c = 0.5, t = 0.001; nothing if c is below t S."""
    assert residual(0.002, 4.0, 0.5).detectable(1e-3) == pytest.approx(0.006 / 0.496)
    assert residual(0.0, 4.0, 0.004).detectable(1e-3) is None


def test_a_mask_takes_from_a_term_what_it_takes() -> None:
    """(3, 4) behind a mask of its second element is 3 long, though half the squares of a mask are one."""
    mask = Carry(vector(1, 0), None, math.sqrt(0.5))
    start, term, end = vector(0, 9), vector(3, 4), vector(3, 0)
    running = along(start, varying=True)
    running.carry(UNCHANGED)
    running.add(term, number(5), number(9), mask)
    found = running.compare(end, number(3))
    assert found.norm == 0
    assert found.smallest == 0  # of the start nothing is left
    again = along(vector(9, 0), varying=True)
    again.add(term, number(5), number(9), mask)
    assert again.compare(vector(12, 0), number(12)).smallest == 3


def test_a_shift_is_no_part_of_a_change() -> None:
    """What an affine map adds, whatever comes in, does not make a term larger: 2 u + 100."""
    running = along(vector(1.0), varying=True)
    running.carry(Carry(None, lambda value: 2 * value + 100, gain=2.0))
    running.add(vector(50.0), number(50), number(102))
    assert running.compare(vector(152.0), number(152)).smallest == 2


def test_a_branch_that_adds_nothing_has_nothing_to_detect() -> None:
    """No relative change of a term of zeros can be seen."""
    running = along(vector(1, 2))
    running.add(vector(0, 0), number(0), number(1))
    assert running.compare(vector(1, 2), WHOLE(vector(1, 2))).detectable(1e-3) is None


def test_single_samples_are_not_averaged() -> None:
    """Sample by sample, one bad sample beside a thousand times larger good ones is seen as it is."""
    start = torch.tensor([[1.0], [1000.0]], dtype=torch.float64)
    end = torch.tensor([[1.5], [1000.0]], dtype=torch.float64)
    errors = []
    for norms in (WHOLE, Norms(per_sample=True)):
        running = along(start, norms)
        running.add(torch.zeros_like(start), norms(torch.zeros_like(start)), norms(start))
        errors.append(running.compare(end, norms(end)).error)
    assert errors[0] == pytest.approx(0.5 / 1000, rel=1e-5)
    assert errors[1] == 0.5


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    terms=st.lists(st.floats(0.1, 0.9), min_size=1, max_size=6),
    tolerance=st.floats(1e-9, 1e-6),
)
def test_detectable_is_the_edge_of_what_is_caught(terms: list[float], tolerance: float) -> None:
    """A change of the smallest term a little above `detectable` is caught, one a little below is not."""
    smallest = terms.index(min(terms))
    for factor, caught in ((1.01, True), (0.99, False)):
        running = along(vector(1.0))
        position = 1.0
        for term in terms:
            running.add(vector(term), number(term), number(position))
            position += term
        honest = running.compare(vector(position), WHOLE(vector(position)))
        change = factor * honest.detectable(tolerance) * terms[smallest]
        off = running.compare(vector(position + change), WHOLE(vector(position + change)))
        assert (off.error > tolerance) is caught


def test_norms() -> None:
    """The norm is Euclidean, over the batch or sample by sample, and infinite or NaN where it has to be."""
    assert WHOLE(vector(3, -4)).tolist() == [5.0]
    assert Norms(per_sample=True)(torch.tensor([[3.0, 4.0], [0.0, 1.0]])).tolist() == [5.0, 1.0]
    assert WHOLE(vector(1e200, 1e200)).tolist() == [math.inf]
    assert np.isnan(WHOLE(vector(math.nan))).all()
