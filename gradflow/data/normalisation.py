"""How pixels become inputs.

He et al. 2016 (arXiv:1603.05027) subtract the mean of each pixel over the training set. That takes
the whole set, which a probe of one batch should not have to read, so sets of images are
normalised by published constants of each channel instead, unless a checkpoint says what it was
trained with. BN behind the first convolution makes the two differ little; the record says which
it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class PixelMap(Protocol):
    """What is done to pixels: (pixels / 255 − mean) / std, elementwise."""

    def apply(self, pixels: Tensor) -> Tensor:
        """Map pixels (batch, channels, height, width) from 0…255 to normalised float32."""

    def constants(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, each to be broadcast over (channels, height, width)."""

    def to_dict(self) -> dict[str, Any]:
        """Return what a record says."""


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
        mean, std = self.constants()
        return (pixels.to(torch.float32) / 255 - mean) / std

    def constants(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation, each of shape (channels, 1, 1)."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return mean, std

    def to_dict(self) -> dict[str, Any]:
        """Return what a record says."""
        return {"kind": "per-channel", "mean": list(self.mean), "std": list(self.std), "of": self.origin}


@dataclass(frozen=True, eq=False)
class PixelMean:
    """The mean of each pixel over the training images, as He et al. 2016 subtract it.

    Attributes:
        mean: (channels, height, width), of pixels between 0 and 1.
        origin: the data set that it is of.
    """

    mean: Tensor
    origin: str

    def apply(self, pixels: Tensor) -> Tensor:
        """Map pixels (batch, channels, height, width) from 0…255 to normalised float32."""
        return pixels.to(torch.float32) / 255 - self.mean

    def constants(self) -> tuple[Tensor, Tensor]:
        """Return the mean, and a standard deviation of 1."""
        return self.mean, torch.ones(1, 1, 1)

    def to_dict(self) -> dict[str, Any]:
        """Return what a record says; the mean itself is too long for it."""
        return {"kind": "pixel-mean", "of": self.origin}


def keep_normalisation(normalisation: PixelMap) -> dict[str, Any]:
    """Return what a checkpoint holds, from which `kept_normalisation` makes the normalisation again."""
    mean, std = normalisation.constants()
    return normalisation.to_dict() | {"mean": mean.contiguous(), "std": std.contiguous()}


def kept_normalisation(kept: Any) -> PixelMap | None:
    """Return the normalisation that a checkpoint holds, or None if it holds none that gradflow wrote."""
    if not isinstance(kept, Mapping):
        return None
    mean, std, origin = kept.get("mean"), kept.get("std"), str(kept.get("of"))
    if not (isinstance(mean, Tensor) and isinstance(std, Tensor)):
        return None
    if kept.get("kind") == "pixel-mean":
        return PixelMean(mean, origin)
    return Normalisation(tuple(mean.flatten().tolist()), tuple(std.flatten().tolist()), origin)


CIFAR10 = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), "CIFAR-10")
CIFAR100 = Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), "CIFAR-100")
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "ImageNet")
GREY = Normalisation((0.5,), (0.25,), "mid-grey")


def for_shape(input_shape: tuple[int, int, int]) -> Normalisation:
    """Return the constants for images of unknown origin: CIFAR-10's at 32 × 32, else ImageNet's."""
    if input_shape[0] == 1:
        return GREY
    return CIFAR10 if input_shape[1:] == (32, 32) else IMAGENET
