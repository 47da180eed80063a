"""A band around the change of every unit that holds all units at once.

Student's interval of one unit, at a level at which even the sum of all units' chances to miss is 5 %
(Bonferroni's inequality; Dunn 1961, "Multiple comparisons among means", JASA 56, 52-64). However units hang
together along depth, the band then holds all of them with at least 95 %. Paired repetitions are compared by
their differences; of others the standard error and its degrees of freedom are Welch's (1947, Biometrika 34,
28-35). Assumed are independent repetitions and, in each unit, differences that are near to normal, which for
norms is asked of logarithms.

Resampling ten repetitions is no way to such a band: the largest of many deviations lies far out in the tails
of Student's distribution, of which resamples of the same ten numbers, in standard errors of their own, show
nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from gradflow.repetitions import ENOUGH
from gradflow.statistics import CONFIDENCE

Array = NDArray[np.float64]


def band(a: Array, b: Array, *, paired: bool) -> tuple[Array, Array]:
    """Return a band around the difference of means, B less A, that holds all units at once.

    Args:
        a: A's values, (repetitions, units).
        b: B's.
        paired: whether their repetitions are the same ones, in the same order.

    Returns:
        the band's ends, (units,) each; NaN with fewer than `gradflow.repetitions.ENOUGH` repetitions.
    """
    if min(len(a), len(b)) < ENOUGH:
        missing = np.full(a.shape[1], np.nan)
        return missing, missing
    error, freedom = _paired(b - a) if paired else _welch(a, b)
    width = stdtrit(freedom, 1 - (1 - CONFIDENCE) / 2 / a.shape[1]) * error
    estimate = b.mean(axis=0) - a.mean(axis=0)
    return estimate - width, estimate + width


def _paired(differences: Array) -> tuple[Array, Array]:
    """Return the mean's standard error and its degrees of freedom, (units,) each."""
    count, units = differences.shape
    return differences.std(axis=0, ddof=1) / np.sqrt(count), np.full(units, count - 1.0)


def _welch(a: Array, b: Array) -> tuple[Array, Array]:
    one, other = (values.var(axis=0, ddof=1) / len(values) for values in (a, b))
    square = one + other
    weights = one**2 / (len(a) - 1) + other**2 / (len(b) - 1)
    # Where nothing scatters, the width is 0 whatever the degrees of freedom.
    freedom = np.divide(square**2, weights, out=np.ones_like(square), where=weights > 0)
    return np.sqrt(square), freedom
