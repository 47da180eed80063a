"""Tolerances: relative to their terms, larger for longer spans and coarser dtypes, and nothing added."""

from __future__ import annotations

import inspect
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from gradflow.tolerances import (
    UNIT_ROUNDOFF,
    oracle_agreement,
    sum_of_terms,
    vector_jacobian_product,
)

DTYPES = sorted(UNIT_ROUNDOFF, key=UNIT_ROUNDOFF.__getitem__)


@pytest.mark.parametrize("dtype", DTYPES)
def test_unit_roundoff_is_half_an_epsilon(dtype: str) -> None:
    """u is half the distance from 1 to the next number of the dtype."""
    assert UNIT_ROUNDOFF[dtype] == torch.finfo(getattr(torch, dtype)).eps / 2


def every_tolerance(dtype: str, units: int) -> list[float]:
    """Return each tolerance for a network of basic units of 64 channels."""
    return [
        sum_of_terms(dtype, units),
        vector_jacobian_product(dtype, units, layers=2, reduction=576),
        oracle_agreement(dtype, layers=2 * units, reduction=576),
    ]


@pytest.mark.parametrize("units", [1, 9, 333])
def test_coarser_dtypes_have_larger_tolerances(units: int) -> None:
    """The order of the dtypes by roundoff is their order by every tolerance."""
    for finer, coarser in pairwise(DTYPES):
        for small, large in zip(every_tolerance(finer, units), every_tolerance(coarser, units), strict=True):
            assert 0 < small < large


@pytest.mark.parametrize("dtype", DTYPES)
def test_longer_spans_have_larger_tolerances(dtype: str) -> None:
    """No tolerance falls when units are added, nor with more layers or longer reductions."""
    for units in range(1, 50):
        for shorter, longer in zip(
            every_tolerance(dtype, units), every_tolerance(dtype, units + 1), strict=True
        ):
            assert shorter <= longer
    for layers, reduction in ((3, 576), (2, 1152)):
        assert vector_jacobian_product(dtype, 1, layers, reduction) > vector_jacobian_product(
            dtype, 1, 2, 576
        )
        assert oracle_agreement(dtype, layers, reduction) > oracle_agreement(dtype, 2, 576)


def test_values_are_those_of_the_derivations() -> None:
    """By hand: u + 5 u₆₄; 2 K (√n + 2) u beside it; 2 √K (√n + 2) u and, in float32, 1e-6."""
    u, v = 2.0**-24, 2.0**-53
    assert sum_of_terms("float32", 4) == u + 5 * v
    assert vector_jacobian_product("float32", 4, layers=2, reduction=9) == pytest.approx(
        2 * 2 * 5 * u + u + 5 * v
    )
    assert oracle_agreement("float64", layers=9, reduction=16) == pytest.approx(2 * 3 * 6 * v)
    assert oracle_agreement("float32", layers=9, reduction=16) == pytest.approx(2 * 3 * 6 * u + 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_stays_within_the_sum_of_terms(dtype: str) -> None:
    """x_{i+1} = x_i + F_i in the dtype, on numbers of any sign and size, never leaves the tolerance."""
    generator = np.random.default_rng(0)
    for units in (1, 10, 200):
        for bias in (0.0, 5.0):
            x = start = (generator.normal(size=500) + bias).astype(dtype)
            total, scale = np.zeros(500), 0.0
            for _ in range(units):
                f = (generator.normal(size=500) * 10.0 ** generator.integers(-3, 3)).astype(dtype)
                scale += float(np.linalg.norm(x.astype(float)) + np.linalg.norm(f.astype(float)))
                total += f
                x = x + f
            residual = np.linalg.norm(x.astype(float) - start.astype(float) - total)
            assert residual <= sum_of_terms(dtype, units) * scale


def test_tolerances_are_far_below_a_finding() -> None:
    """Even for the deepest network a part in a thousand is beyond what float32's rounding explains."""
    assert sum_of_terms("float32", 1000) < 1e-6
    assert vector_jacobian_product("float64", 333, layers=3, reduction=2304) < 1e-12
    assert oracle_agreement("float32", layers=1001, reduction=2304) < 1e-3


def test_there_is_no_absolute_part() -> None:
    """A tolerance is a ratio: no function takes the size of a value, and all fall with the roundoff to 0."""
    for function in (sum_of_terms, vector_jacobian_product, oracle_agreement):
        assert not {"scale", "norm", "value", "atol"} & set(inspect.signature(function).parameters)
    ratio = UNIT_ROUNDOFF["float32"] / UNIT_ROUNDOFF["float64"]
    for wide, narrow in zip(
        every_tolerance("float32", 9)[:3], every_tolerance("float64", 9)[:3], strict=True
    ):
        assert narrow <= wide / ratio * 11  # the float64 evaluation of a residual adds units + 1 roundings
    assert math.isclose(oracle_agreement("float32", 9, 16) - 1e-6, ratio * oracle_agreement("float64", 9, 16))
