"""Which samples a network puts into a wrong class: the one place that says so."""

from __future__ import annotations

from torch import Tensor


def misclassified(logits: Tensor, targets: Tensor) -> Tensor:
    """Return which samples are in a wrong class.

    `argmax` takes a NaN for the largest output, so a network that puts out NaN alone would always be
    right about the class that comes first. A sample with a NaN among its outputs has no largest one,
    and is wrong.

    Args:
        logits: (batch, classes, …).
        targets: class indices (batch, …).

    Returns:
        booleans of the shape of `targets`.
    """
    return (logits.argmax(1) != targets) | logits.isnan().any(1)
