"""Numbers about matrices that are known."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from gradflow.errors import ProbeError
from gradflow.spectrum import adjoint_error, extreme_singular_values, mean_square_singular_value


def matrix(values: np.ndarray, rows: int = 120, columns: int = 100) -> np.ndarray:
    """Return a matrix with singular values `values` and random singular vectors."""
    random = np.random.default_rng(3)
    left, right = (np.linalg.qr(random.standard_normal((size, size)))[0] for size in (rows, columns))
    middle = np.zeros((rows, columns))
    np.fill_diagonal(middle, values)
    return left @ middle @ right


SPREAD = np.geomspace(4.0, 0.5, 100)


def test_largest_and_smallest_of_a_known_spectrum() -> None:
    """Both ends come out, the most extreme first."""
    operator = aslinearoperator(matrix(SPREAD))
    assert extreme_singular_values(operator, 5) == pytest.approx(SPREAD[:5], rel=1e-12)
    smallest = extreme_singular_values(operator, 2, which="smallest")
    assert smallest == pytest.approx(SPREAD[::-1][:2], rel=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(3, 5), (5, 3), (1, 1)])
def test_small_matrices_are_decomposed(rows: int, columns: int) -> None:
    """Where there are no more singular values than were asked for, all of them come out."""
    small = np.random.default_rng(0).standard_normal((rows, columns))
    expected = np.linalg.svd(small, compute_uv=False)
    assert extreme_singular_values(aslinearoperator(small), 9) == pytest.approx(expected, rel=1e-12)


def test_many_equal_singular_values_are_one_after_the_other() -> None:
    """An orthogonal matrix has 1 as often as was asked for."""
    operator = aslinearoperator(matrix(np.ones(100)))
    assert extreme_singular_values(operator, 4) == pytest.approx(np.ones(4), rel=1e-12)


def test_what_does_not_converge_is_refused() -> None:
    """Singular values that lie too close together at the lower end are refused, not made up."""
    crowded = matrix(np.linspace(1, 0, 400), 400, 400)
    with pytest.raises(ProbeError, match=r"3 smallest singular values .* 400 × 400 does not converge"):
        extreme_singular_values(aslinearoperator(crowded), 3, which="smallest")


@pytest.mark.parametrize("which", ["largest", "smallest"])
@pytest.mark.parametrize("size", [5, 200])
def test_zero_has_singular_values_of_zero(size: int, which: Literal["largest", "smallest"]) -> None:
    """A branch that adds nothing has a Jacobian, too."""
    operator = aslinearoperator(np.zeros((size, size + 3)))
    assert extreme_singular_values(operator, 4, which=which).tolist() == [0.0] * 4


def test_what_is_below_the_types_numbers_when_squared_is_refused() -> None:
    """ARPACK works on JᵀJ: with σ of 1e-30 in float32 that is 0, and J is not."""
    operator = aslinearoperator(np.eye(200, dtype=np.float32) * np.float32(1e-30))
    with pytest.raises(ProbeError, match=r"squares J, .* 1\.0e-30-fold, in float32; take --dtype float64"):
        extreme_singular_values(operator, 4)
    assert extreme_singular_values(aslinearoperator(np.eye(200) * 1e-30), 2) == pytest.approx([1e-30] * 2)


def test_not_finite_is_refused() -> None:
    """A Jacobian with a NaN has no singular values."""
    for size in (5, 100):
        broken = np.eye(size)
        broken[2, 1] = np.nan
        with pytest.raises(ProbeError, match="not finite"):
            extreme_singular_values(aslinearoperator(broken), 2)


def test_mean_square_is_within_its_error() -> None:
    """Hutchinson's estimate is within four standard errors of the truth, and not of a tenth more."""
    known = matrix(SPREAD)
    truth = np.square(SPREAD).sum() / 100
    found = mean_square_singular_value(aslinearoperator(known), 400)
    assert abs(found.value - truth) <= 4 * found.error
    assert abs(found.value - 1.1 * truth) > 4 * found.error
    assert mean_square_singular_value(aslinearoperator(known), 40).error > 2 * found.error


def test_mean_square_of_a_diagonal_is_exact() -> None:
    """Signs square to 1: what has orthogonal rows has no error."""
    found = mean_square_singular_value(aslinearoperator(np.diag([1.0, 2.0, 3.0])), 2)
    assert (found.value, found.error) == (pytest.approx(14 / 3, rel=1e-15), 0.0)


def test_one_probe_is_refused() -> None:
    """One vector has no standard error."""
    with pytest.raises(ProbeError, match="take at least 2"):
        mean_square_singular_value(aslinearoperator(np.eye(3)), 1)


def test_adjoint_error_of_zero_is_zero() -> None:
    """The zero map is its own transpose."""
    assert adjoint_error(aslinearoperator(np.zeros((4, 3)))) == 0.0
