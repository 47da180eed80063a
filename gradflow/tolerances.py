"""The only home of numeric tolerances, each with its derivation.

All are relative to the terms that enter a statement. There is no absolute part: a residual
that should be zero is compared with the size of what it was computed from.

Notation: u is the unit roundoff of the dtype in which the network ran (2⁻²⁴ in float32),
u₆₄ = 2⁻⁵³ that of the float64 in which residuals are evaluated.
"""

from __future__ import annotations

import math

UNIT_ROUNDOFF: dict[str, float] = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "bfloat16": 2.0**-8,
    "float16": 2.0**-11,
}
"""u of each dtype: half the distance from 1 to the next number."""


def subtracted_part(dtype: str) -> float:
    """Return the largest ‖∂E/∂x − s − b‖ / (‖∂E/∂x‖ + ‖s‖ + ‖b‖) if nothing else reaches x.

    Four roundings: of the parts when autograd adds them, and of the subtractions.
    """
    return 4 * UNIT_ROUNDOFF[dtype]


def sum_of_terms(dtype: str, units: int, additions: int = 1) -> float:
    """Return c·u for x_L − x_l − Σ F_i (eq. 3 and 4) and for g_l − g_L − Σ b_i (eq. 5).

    The network rounds once at each addition: x_{i+1} = (x_i + F_i)(1 + δ), |δ| ≤ u, so
    after any number of units ‖x_L − x_l − Σ F_i‖ ≤ u Σ ‖x_{i+1}‖ ≤ u Σ (‖x_i‖ + ‖F_i‖).
    Backward the same holds of g_i = g_{i+1} + b_i. Evaluating the residual takes
    `units` + 1 more operations in float64, each on a partial sum that the same Σ bounds.

    Where a branch reads x_l at several places (query, key and value), autograd adds up as many
    parts one by one, and rounds at each; their partial sums are taken to be no larger than the
    terms, as those of parts of random sign are.

    Args:
        dtype: dtype in which the network ran.
        units: units in the span.
        additions: roundings that go into one unit's terms.

    Returns:
        the largest ‖residual‖ / Σ (‖x_i‖ + ‖F_i‖) that rounding explains.
    """
    return additions * UNIT_ROUNDOFF[dtype] + (units + 1) * UNIT_ROUNDOFF["float64"]


def vector_jacobian_product(dtype: str, units: int, layers: int, reduction: int) -> float:
    """Return c·u for eq. 5 in the paper's form, g_l − g_L − (∂ΣF/∂x_l)ᵀ g_L.

    Here two backward passes are compared that go through the same branches with cotangents
    rounded differently. A sum of n products of random sign has the rounding error u √n
    relative to its value (n roundings of independent sign, on partial sums that grow as √n
    like the sum itself), so a branch of K weight layers, each a reduction over at most n
    products, is off by u K √n of ‖b_i‖ in each pass; normalisations and activations add
    2 roundings a layer. An error made in unit i is carried to l by the very Jacobians that
    carry the gradient, so it grows as the gradient does and stays the same part of it.

    This bound is statistical: it is not exceeded by rounding of random sign. It is derived
    and not fitted.

    Args:
        dtype: dtype in which both passes ran.
        units: units in the span.
        layers: K, weight layers in the longest branch.
        reduction: n, products in a layer's longest reduction.
    """
    a_pass = layers * (math.sqrt(reduction) + 2)
    return 2 * a_pass * UNIT_ROUNDOFF[dtype] + sum_of_terms(dtype, units)


def carried_sum(dtype: str, units: int, roundings: float, additions: int = 1) -> float:
    """Return c·u for the sums in which shortcuts and masks carry what is added (eq. 6 to 8).

    x_L − Π λ_i x_l − Σ F̂_i and its backward kin. A unit rounds at its addition, and its shortcut
    as often as `roundings` says; both are done again in float64 when the residual is evaluated
    (a gate's own derivative in the network's dtype, hence twice). Errors are carried on by the
    same factors as the terms, so they are relative to the carried Σ (‖h(x_i)‖ + ‖F_i‖), where a
    factor counts with its root mean square: that is what it does to an error of random sign.

    Args:
        dtype: dtype in which the network ran.
        units: units in the span.
        roundings: of one unit's shortcut (a multiplication is one; n products of random sign √n).
        additions: as for `sum_of_terms`.
    """
    a_unit = additions + roundings
    return 2 * a_unit * UNIT_ROUNDOFF[dtype] + (units + 1) * a_unit * UNIT_ROUNDOFF["float64"]


def function_value(dtype: str, roundings: float) -> float:
    """Return c·u for x_{l+1} − f(y_l), relative to ‖x_{l+1}‖ and ‖f‖ ‖y_l‖ (eq. 2).

    Args:
        dtype: dtype in which the network ran.
        roundings: of one element of f; none for an identity or a ReLU.
    """
    return roundings * UNIT_ROUNDOFF[dtype] + (roundings + 2) * UNIT_ROUNDOFF["float64"]


def product_of_layers(dtype: str, units: int, layers: int, reduction: int) -> float:
    """Return c·u for a product of weights or Jacobians, relative to the product and its value.

    Each of `units` blocks of `layers` weight layers is gone through twice, in the network and
    in the check, with the rounding error that `vector_jacobian_product` derives; relative errors
    of the factors of a product add up.
    """
    return 2 * units * layers * (math.sqrt(reduction) + 2) * UNIT_ROUNDOFF[dtype]


def same_network(dtype: str, layers: int, reduction: int) -> float:
    """Return how far two runs of one network through other kernels may be apart, relative to a norm.

    The estimate of `vector_jacobian_product`, over all `layers` of the network, whose errors
    have independent signs and add in quadrature.

    The gradient of a weight is a sum of contributions, one from each element of what is computed with
    it. Their errors are relative to them and of independent sign, so the sum is off by this part of
    the root of the sum of their squares. That is its norm where they are of random sign, too, and
    more than its norm where they cancel.
    """
    return 2 * math.sqrt(layers) * (math.sqrt(reduction) + 2) * UNIT_ROUNDOFF[dtype]


def oracle_agreement(dtype: str, layers: int, reduction: int) -> float:
    """Return how far a norm may be from the oracle's: two backward passes of the whole depth.

    `same_network`, plus 1e-6 in float32, the accuracy to which the probe accumulates norms.
    """
    return same_network(dtype, layers, reduction) + (0.0 if dtype == "float64" else 1e-6)


def adjoint_agreement(dtype: str, layers: int, reduction: int) -> float:
    """Return how far ⟨Jv, w⟩ may be from ⟨v, Jᵀw⟩, relative to ‖Jv‖ ‖w‖ + ‖v‖ ‖Jᵀw‖.

    Each of the two products goes through `layers` weight layers whose errors have independent
    signs and add in quadrature, u (√`reduction` + 2) each, as for `oracle_agreement`; the inner
    products are taken in float64.

    Args:
        dtype: dtype in which the products ran.
        layers: weight layers between the two ends of J.
        reduction: products in a layer's longest reduction.
    """
    return math.sqrt(layers) * (math.sqrt(reduction) + 2) * UNIT_ROUNDOFF[dtype]
