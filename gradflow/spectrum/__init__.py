"""Jacobians of branches and of whole spans: as operators, and what their singular values are."""

from gradflow.probing.linearised import linearised
from gradflow.spectrum.estimates import adjoint_error, extreme_singular_values, mean_square_singular_value
from gradflow.spectrum.measuring import singular_values
from gradflow.spectrum.operators import JacobianOperator, branch_jacobian, span_jacobian

__all__ = [
    "JacobianOperator",
    "adjoint_error",
    "branch_jacobian",
    "extreme_singular_values",
    "linearised",
    "mean_square_singular_value",
    "singular_values",
    "span_jacobian",
]
