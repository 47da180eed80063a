"""Intervals over repetitions, and the one test of a comparison, by resampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, permutation_test

from gradflow.statistics import CONFIDENCE

Array = NDArray[np.float64]

_RESAMPLES = 4999


@dataclass(frozen=True)
class Summary:
    """The one number that a comparison tests.

    For norms it is the change along depth, value at the first unit over value at the last, and what is
    compared is the ratio of B's to A's; for everything else it is the mean over units, and the difference.

    Attributes:
        a: of the first record, over its repetitions.
        b: of the second.
        change: B over A, or B less A.
        low: lower end of its 95 % bootstrap interval; NaN without repetitions.
        high: upper end.
        p_value: of a permutation test of no change; NaN without repetitions.
    """

    a: float
    b: float
    change: float
    low: float
    high: float
    p_value: float


def _difference(a: Array, b: Array, axis: int) -> Any:
    return b.mean(axis=axis) - a.mean(axis=axis)


def band(a: Array, b: Array, *, paired: bool) -> tuple[Array, Array]:
    """Return a band around the difference of means that holds all units at once.

    Repetitions are resampled whole, so that what units have in common stays; the band is as many
    standard errors wide as the largest deviation of any unit has in 95 % of the resamples.

    Args:
        a: A's values, (repetitions, units).
        b: B's.
        paired: whether their repetitions are the same ones.

    Returns:
        the band's ends, (units,) each; NaN without repetitions.
    """
    missing = np.full(a.shape[1], np.nan)
    if min(len(a), len(b)) < 2:
        return missing, missing
    found = bootstrap(
        (a, b),
        _difference,
        axis=0,
        paired=paired,
        vectorized=True,
        method="percentile",
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    estimate, drawn = _difference(a, b, 0), found.bootstrap_distribution
    error = drawn.std(axis=-1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.abs(drawn - estimate[:, None]) / error[:, None]
    width = np.quantile(np.nan_to_num(deviation).max(axis=0), CONFIDENCE)
    return estimate - width * error, estimate + width * error


def summarise(a: Array, b: Array, *, paired: bool, geometric: bool) -> Summary:
    """Compare the one number that a comparison tests.

    Args:
        a: A's values, (repetitions, units), logarithms if `geometric`.
        b: B's.
        paired: whether their repetitions are the same ones.
        geometric: whether it is a change along depth, or a mean over units.
    """
    one, other = ((x[:, 0] - x[:, -1]) if geometric else x.mean(axis=1) for x in (a, b))
    back: Callable[[float], float] = np.exp if geometric else float
    low = high = p_value = np.nan
    if min(len(one), len(other)) > 1:
        rng = np.random.default_rng(0)
        interval = bootstrap(
            (one, other),
            _difference,
            axis=0,
            paired=paired,
            method="percentile",
            n_resamples=_RESAMPLES,
            rng=rng,
        ).confidence_interval
        low, high = back(float(interval.low)), back(float(interval.high))
        kind: Literal["samples", "independent"] = "samples" if paired else "independent"
        test = permutation_test(
            (one, other), _difference, permutation_type=kind, vectorized=True, n_resamples=_RESAMPLES, rng=rng
        )
        p_value = float(test.pvalue)
    change = back(float(other.mean() - one.mean()))
    return Summary(
        back(float(one.mean())), back(float(other.mean())), float(change), float(low), float(high), p_value
    )
