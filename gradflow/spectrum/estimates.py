"""Numbers about a matrix of which only products are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, svds

from gradflow.errors import ProbeError

_RESTARTS = 100
"""Of the iteration, of some 15 products each: what is not found by then lies too close to others."""

_SMALL = 64
"""Up to this many rows or columns a dense decomposition is quicker than an iteration."""


@dataclass(frozen=True)
class MeanSquare:
    """An estimate of the mean squared singular value.

    Attributes:
        value: the estimate.
        error: its standard error.
        probes: random vectors that it is the mean over.
    """

    value: float
    error: float
    probes: int


def extreme_singular_values(
    operator: LinearOperator, count: int, *, which: Literal["largest", "smallest"] = "largest", seed: int = 0
) -> NDArray[np.float64]:
    """Return the `count` largest or smallest singular values, the most extreme first.

    ARPACK's Lanczos iteration on JᵀJ, by `scipy.sparse.linalg.svds`: products with vectors and
    a basis of max(2·count + 1, 20) of them. The largest take some tens of products. The
    smallest are another matter: ReLUs make most Jacobians singular, of equal singular values
    the iteration may see only one, the squaring leaves noise of √ε of the largest where there
    is a zero, and where many lie close together it gives up.

    Args:
        operator: J; at most min(rows, columns) singular values.
        count: how many; no more than there are.
        which: largest or smallest.
        seed: of the vector that the iteration starts with.

    Raises:
        ProbeError: if J is not finite, or the iteration does not converge, or JᵀJ is below the numbers
            of J's type.
    """
    least = min(operator.shape)
    count = min(count, least)
    if least <= max(_SMALL, 2 * count):
        values = np.linalg.svd(_finite(dense(operator)), compute_uv=False)
    else:
        normal = np.random.default_rng(seed)
        start = normal.standard_normal(least).astype(operator.dtype)
        image = _finite(operator.matvec(normal.standard_normal(operator.shape[1]).astype(operator.dtype)))
        if not image.any():
            return np.zeros(count)  # almost no vector lies in the kernel of anything but 0
        kind = "LM" if which == "largest" else "SM"
        try:
            values = svds(
                operator, count, which=kind, v0=start, maxiter=_RESTARTS, return_singular_vectors=False
            )
        except ArpackNoConvergence as error:
            raise ProbeError(
                f"the iteration for the {count} {which} singular values of a matrix of "
                f"{operator.shape[0]} × {operator.shape[1]} does not converge; ask for fewer"
            ) from error
        except ArpackError as error:
            size = float(np.linalg.norm(image.astype(np.float64)) / operator.shape[1] ** 0.5)
            raise ProbeError(
                f"the iteration for the {count} {which} singular values of a matrix of {operator.shape[0]} × "
                f"{operator.shape[1]} fails: it squares J, which enlarges a random vector {size:.1e}-fold, "
                f"in {operator.dtype}; take --dtype float64"
            ) from error
    ordered = np.sort(np.asarray(values, np.float64))
    return ordered[::-1][:count] if which == "largest" else ordered[:count]


def mean_square_singular_value(operator: LinearOperator, probes: int, *, seed: int = 0) -> MeanSquare:
    """Estimate ‖J‖² / columns (Frobenius), the mean of σ² over the directions of the input.

    Hutchinson's estimate: for w of independent random signs, E ‖Jᵀw‖² = tr JJᵀ = ‖J‖². It takes
    vector-Jacobian products only.

    Args:
        operator: J.
        probes: how many w; at least 2, or there is no standard error.
        seed: of their signs.

    Raises:
        ProbeError: if there are fewer than 2, or J is not finite.
    """
    if probes < 2:
        raise ProbeError(f"{probes} probe vector has no standard error; take at least 2")
    rows, columns = operator.shape
    signs = np.random.default_rng(seed)
    squares = np.empty(probes)
    for index in range(probes):
        w = signs.integers(0, 2, rows).astype(operator.dtype) * 2 - 1
        squares[index] = np.square(_finite(operator.rmatvec(w)), dtype=np.float64).sum() / columns
    return MeanSquare(float(squares.mean()), float(squares.std(ddof=1) / math.sqrt(probes)), probes)


def adjoint_error(operator: LinearOperator, *, seed: int = 0) -> float:
    """Return |⟨Jv, w⟩ − ⟨v, Jᵀw⟩| / (‖Jv‖ ‖w‖ + ‖v‖ ‖Jᵀw‖) for normal random v and w.

    If each product is the other's transpose this is rounding
    (`gradflow.tolerances.adjoint_agreement`).
    """
    normal = np.random.default_rng(seed)
    v = normal.standard_normal(operator.shape[1]).astype(operator.dtype)
    w = normal.standard_normal(operator.shape[0]).astype(operator.dtype)
    forward, backward = operator.matvec(v).astype(np.float64), operator.rmatvec(w).astype(np.float64)
    size = np.linalg.norm
    scale = float(size(forward) * size(w) + size(v) * size(backward))
    return abs(float(forward @ w - v @ backward)) / scale if scale else 0.0


def dense(operator: LinearOperator) -> NDArray[Any]:
    """Return the matrix itself, column by column: for small ones."""
    return np.asarray(operator @ np.eye(operator.shape[1], dtype=operator.dtype))


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(values).all():
        raise ProbeError("the Jacobian is not finite, so it has no singular values; look at gradflow probe")
    return values
