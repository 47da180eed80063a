"""Gradients of transformers at initialisation (Xiong et al. 2020, arXiv:2002.04745)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POST_NORM_SLOPE = 0.0
"""Of ln ‖∂E/∂W₂ of the last layer‖ against ln L with layer normalisation behind each addition."""

PRE_NORM_SLOPE = -0.5
"""The same with layer normalisation at the head of each branch: ∝ 1 / √L (their theorem 1)."""


def post_norm_decay(layers: Array) -> Array:
    """Return (2/3)^((L−l)/2), how the gradient of post-normalised layer l falls off towards the input.

    Args:
        layers: L − l.
    """
    return (2 / 3) ** (layers / 2)
