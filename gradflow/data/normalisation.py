"""How pixels become inputs.

He et al. 2016 (arXiv:1603.05027) subtract the mean of each pixel over the training set. That takes
the whole set, which a probe of one batch should not have to read, so sets of images are
normalised by published constants of each channel instead. BN behind the first convolution makes
the two differ little; the record says which it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of pixels between 0 and 1.

    Attributes:
        mean: is subtracted.
        std: is divided by.
        origin: the data set that the constants are of.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    origin: str

    def apply(self, pixels: Tensor) -> Tensor:
        """Map pixels (batch, channels, height, width) from 0…255 to normalised float32."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (pixels.to(torch.float32) / 255 - mean) / std

    def to_dict(self) -> dict[str, Any]:
        """Return what a record says."""
        return {"kind": "per-channel", "mean": list(self.mean), "std": list(self.std), "of": self.origin}


CIFAR10 = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "CIFAR-10")
CIFAR100 = Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), "CIFAR-100")
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet")
GREY = Normalisation((0.5,), (0.25,), "mid-grey")


def for_shape(input_shape: tuple[int, int, int]) -> Normalisation:
    """Return the constants for images of unknown origin: CIFAR-10's at 32 × 32, else ImageNet's."""
    if input_shape[0] == 1:
        return GREY
    return CIFAR10 if input_shape[1:] == (32, 32) else IMAGENET
