"""Predictions for networks with BN and ReLU: constants, padding, branch shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradflow.theory import UNIT_KINDS, R, branch_share


def test_constants_are_those_of_the_theory() -> None:
    """r, the exponents r^K, the taps on 8 × 8 pixels and the shares, computed by hand."""
    basic, bottleneck = UNIT_KINDS["basic"], UNIT_KINDS["bottleneck"]
    assert pytest.approx(1.466942) == R
    assert (basic.exponent, bottleneck.exponent) == pytest.approx((2.151919, 3.156741))
    assert (basic.plain_growth, bottleneck.plain_growth) == pytest.approx((1.466942, 1.776722))
    assert basic.taps(2) == pytest.approx([(22 / 24) ** 2] * 2)
    assert bottleneck.padded_gain(2) == 0.25
    assert basic.branch_share(np.array([1.0, 2.0]), 0) == pytest.approx([1 / 2.5, 1 / 3.5])


@given(units=st.integers(0, 1000))
def test_equal_branches_have_the_share_of_de_and_smith(units: int) -> None:
    """Where every branch adds 1 to a start of 1, the share is 1 / (l + 1)."""
    assert branch_share(np.array([units]))[0] == pytest.approx(1 / (units + 1))


@given(gain=st.floats(0.1, 10), start=st.floats(0.1, 10))
def test_shares_are_those_of_a_sum_of_equal_variances(gain: float, start: float) -> None:
    """a / (v_0 + a l) is what a loop that adds a to the variance finds."""
    variance, shares = start, []
    for _ in range(20):
        variance += gain
        shares.append(gain / variance)
    assert branch_share(np.arange(1.0, 21.0), gain=gain, start=start) == pytest.approx(shares)


def test_rectified_inputs_under_padding_have_the_ratio_that_is_predicted() -> None:
    """E[u²] / Var(u) of rectified normal variables, a share of them zeros, is r_p = 1 / (1 − p / π)."""
    unit = UNIT_KINDS["basic"]
    generator = np.random.default_rng(0)
    seen = np.maximum(generator.normal(size=2_000_000), 0)
    seen[generator.random(len(seen)) > unit.taps(2)[0]] = 0
    assert (seen**2).mean() / seen.var() == pytest.approx(unit.ratios(2)[0], rel=5e-3)
