"""Intervals hold what they say: by many draws of a known truth, with the ways that do not as controls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from gradflow.comparison import resampling
from gradflow.comparison.bands import band
from gradflow.comparison.resampling import interval

Array = NDArray[np.float64]
Band = Callable[[Array, Array, bool], tuple[Array, Array]]

UNITS, SEEDS, DRAWS = 54, 10, 400
ERROR = (0.05 * 0.95 / DRAWS) ** 0.5
"""Standard error of a rate of 5 % over the draws."""


def along_depth(rng: np.random.Generator, correlation: float) -> Array:
    """Draw (seeds, units) standard normals, neighbours along depth with `correlation`."""
    noise = rng.normal(size=(SEEDS, UNITS))
    drawn = [noise[:, 0]]
    for unit in range(1, UNITS):
        drawn.append(correlation * drawn[-1] + (1 - correlation**2) ** 0.5 * noise[:, unit])
    return np.stack(drawn, axis=1)


def alarms(make: Band, *, correlation: float, paired: bool, draws: int = DRAWS, shift: float = 0.0) -> float:
    """Return in how many draws a band is clear of 0 in a unit, of records that differ by `shift` in one."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(draws):
        a, b = along_depth(rng, correlation), along_depth(rng, correlation)
        # Pairs share their seed's part; others scatter unequally, which Welch's degrees of freedom are for.
        b[:, UNITS // 2] += shift
        b *= 1.0 if paired else 2.0
        common = 3.0 * rng.normal(size=(SEEDS, 1)) if paired else 0.0
        low, high = make(a + common, b + common, paired)
        found += bool(((low > 0) | (high < 0)).any())
    return found / draws


def ours(a: Array, b: Array, paired: bool) -> tuple[Array, Array]:
    """Return the band that comparisons have."""
    return band(a, b, paired=paired)


def resampled(a: Array, b: Array, paired: bool) -> tuple[Array, Array]:
    """Return a band by resampling whole repetitions, as wide as the largest deviation of any unit is."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, SEEDS, (499, SEEDS))
    other = rows if paired else rng.integers(0, SEEDS, (499, SEEDS))
    estimate, drawn = b.mean(axis=0) - a.mean(axis=0), b[other].mean(axis=1) - a[rows].mean(axis=1)
    error = drawn.std(axis=0, ddof=1)
    width = np.quantile((np.abs(drawn - estimate) / error).max(axis=1), 0.95) * error
    return estimate - width, estimate + width


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("correlation", [0.0, 0.98])
def test_a_band_rarely_finds_what_is_not_there(correlation: float, paired: bool) -> None:
    """Of ten seeds, the band is clear of no change somewhere along depth in at most one of twenty pairs."""
    assert alarms(ours, correlation=correlation, paired=paired) <= 0.05 + 3 * ERROR


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("correlation", [0.0, 0.98])
def test_a_band_finds_what_is_there(correlation: float, paired: bool) -> None:
    """A shift in one unit, of four times the seeds' scatter there, is found nearly always."""
    assert alarms(ours, correlation=correlation, paired=paired, draws=100, shift=4.0) >= 0.9


@pytest.mark.parametrize("paired", [True, False])
def test_the_resampled_band_would_not_pass(paired: bool) -> None:
    """A negative control: resampling ten repetitions gives a band that misses far more often."""
    assert alarms(resampled, correlation=0.0, paired=paired, draws=100) > 2 * (0.05 + 3 * ERROR)


def test_one_units_interval_would_not_pass() -> None:
    """A negative control: without the correction for many units nearly every pair would be said to differ."""

    def each_alone(a: Array, b: Array, paired: bool) -> tuple[Array, Array]:
        ends = [band(a[:, [unit]], b[:, [unit]], paired=paired) for unit in range(UNITS)]
        low, high = (np.concatenate(side) for side in zip(*ends, strict=True))
        return low, high

    assert alarms(each_alone, correlation=0.0, paired=True, draws=50) > 0.5


def covered(of: Callable[[Array, Array, bool], tuple[float, float]], *, paired: bool, draws: int) -> float:
    """Return how often an interval of a difference of ten normal numbers holds the truth, 0."""
    rng = np.random.default_rng(11)
    ends = np.array([of(rng.normal(size=10), rng.normal(size=10), paired) for _ in range(draws)])
    return float(((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean())


def percentile(one: Array, other: Array, paired: bool) -> tuple[float, float]:
    """Return the percentiles of resampled differences of means."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(one), (499, len(one)))
    drawn = other[rows if paired else rng.permuted(rows, axis=0)].mean(axis=1) - one[rows].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("paired", [True, False])
def test_the_summarys_interval_covers(paired: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten seeds it holds the truth in 95 of 100 draws; percentiles of resampled means do not."""
    monkeypatch.setattr(resampling, "_RESAMPLES", 999)
    draws = 1_500
    least = 0.95 - 3 * (0.05 * 0.95 / draws) ** 0.5
    assert covered(lambda *given: interval(*given[:2], paired=given[2]), paired=paired, draws=draws) >= least
    if paired:
        assert covered(percentile, paired=True, draws=draws) < least


def test_the_interval_is_of_the_difference_and_has_a_width() -> None:
    """Its middle is the difference of means, and it is about as wide as Student's."""
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=10), rng.normal(size=10) + 5
    low, high = interval(one, other, paired=True)
    student = 2.262 * (other - one).std(ddof=1) / 10**0.5
    assert low < float((other - one).mean()) < high
    assert 0.7 < (high - low) / 2 / student < 1.4
    assert interval(one, one + 2, paired=True) == pytest.approx((2, 2))
