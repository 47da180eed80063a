"""The test data, run through a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gradflow.misclassification import misclassified
from gradflow.training.images import Batches
from gradflow.training.precision import working_precision

_BATCH = 500


@torch.no_grad()
def evaluate(model: nn.Module, data: Batches) -> tuple[float, float]:
    """Return mean loss and error of `model`, in evaluation mode, over all images of `data`.

    The mode is put back afterwards; the network's own random numbers are not drawn.

    Args:
        model: returns logits (batch, classes).
        data: its order and crops are not used.

    Returns:
        mean cross-entropy, and the share of images that were put into a wrong class; an image
        with a NaN among its outputs is.
    """
    count = len(data.images)
    device = data.images.pixels.device
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    was_training = model.training
    model.eval()
    try:
        for start in range(0, count, _BATCH):
            images, targets = data.plain(slice(start, start + _BATCH))
            with working_precision(device):
                outputs = model(images)
            sums[0] += F.cross_entropy(outputs.float(), targets, reduction="sum")
            sums[1] += misclassified(outputs, targets).sum()
    finally:
        model.train(was_training)
    loss, wrong = sums.tolist()
    return loss / count, wrong / count
