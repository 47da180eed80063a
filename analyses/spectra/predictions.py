"""What theory says of the singular values of J = Π (1 + X_l), X_l the branches' Jacobians.

For independent X_l, each freely independent of what it multiplies and of either sign with equal
right, squared singular values multiply in the mean: E σ² = Π (1 + m_l), m_l = ‖X_l‖² / N.

With many units of m_l = O(1/L) the whole distribution follows from c = Σ m_l alone (Tarnowski et
al. 2019, arXiv:1809.08848): J Jᵀ has the S-transform exp(−c (1 + 2z)), that of a free
multiplicative Brownian motion. The ends of its support are where the derivative of
χ(z) = z/(1 + z) · exp(−c (1 + 2z)) vanishes, which gives the edges below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean_square(branches: Sequence[float]) -> float:
    """Return Π (1 + m_l), the mean squared singular value of a span.

    Args:
        branches: m_l, the mean squared singular value of each branch.
    """
    return math.prod(1 + branch for branch in branches)


def largest(c: float) -> float:
    """Return the upper edge of σ: σ² = (1 + c + √(c² + 2c)) exp √(c² + 2c).

    Args:
        c: Σ m_l.
    """
    root = math.sqrt(c * (c + 2))
    return math.sqrt((1 + c + root) * math.exp(root))
