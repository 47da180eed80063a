"""Training images as tensors on the training device, and batches of them.

All images live as one uint8 tensor where the network is. Choice, crop, mirror image and
normalisation are a handful of operations on a whole batch there; no worker processes, no files. What is
random is drawn from (seed, iteration) alone, so a run that is resumed needs no position in a stream.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gradflow.data import DataSource
from gradflow.data.normalisation import Normalisation, PixelMap, PixelMean
from gradflow.errors import DataError

_ORDER, _CROPS = 0, 1
"""Streams of random numbers that do not overlap."""

_CHUNK = 2_000
"""Images that are turned into floating point at a time where all are read."""


@dataclass(frozen=True, eq=False)
class ImageTensors:
    """A set of images on a device.

    Attributes:
        name: what a record calls the data.
        pixels: uint8, (images, height, width, channels).
        targets: int64, (images,).
        classes: how many there are.
    """

    name: str
    pixels: Tensor
    targets: Tensor
    classes: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def digest(self) -> str:
        """A short digest of all pixels and targets, which tells one set of images from another."""
        found = hashlib.blake2b(digest_size=8)
        for tensor in (self.pixels, self.targets):
            found.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return found.hexdigest()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, height, width, channels = self.pixels.shape
        return channels, height, width


def read_images(source: DataSource, device: str | torch.device) -> ImageTensors:
    """Read every image of `source` onto `device`.

    Raises:
        DataError: if it is no finite set of images, or one cannot be read.
    """
    pixels, targets = source.all_pixels()
    classes = len(source.classes) if source.classes is not None else int(targets.max()) + 1
    return ImageTensors(
        source.name, torch.from_numpy(pixels).to(device), torch.from_numpy(targets).to(device), classes
    )


def fit_normalisation(kind: str, images: ImageTensors) -> PixelMap:
    """Return the normalisation of that kind for the training images.

    Args:
        kind: `pixel-mean` or `per-channel`.
        images: the training set.

    Raises:
        DataError: if a channel is constant, so that it has no standard deviation.
    """
    # In float64, so that the order of summation does not show in the float32 that is kept.
    total = torch.zeros(images.pixels.shape[1:], dtype=torch.float64, device=images.pixels.device)
    squares = torch.zeros_like(total)
    for chunk in torch.split(images.pixels, _CHUNK):
        wide = chunk.to(torch.float64) / 255
        total += wide.sum(0)
        squares += (wide * wide).sum(0)
    mean = total / len(images)
    if kind == "pixel-mean":
        return PixelMean(mean.permute(2, 0, 1).to("cpu", torch.float32).contiguous(), images.name)
    channel_mean = mean.mean((0, 1))
    std = ((squares / len(images)).mean((0, 1)) - channel_mean**2).clamp_min(0).sqrt()
    if not bool((std > 0).all()):
        raise DataError(
            f"{images.name}: a channel is the same in all images, so it cannot be divided by its "
            "standard deviation; take --normalisation pixel-mean"
        )
    return Normalisation(tuple(channel_mean.tolist()), tuple(std.tolist()), images.name)


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of a set of images: the same bits for the same seed and iteration.

    Attributes:
        images: the set.
        normalisation: of its pixels.
        batch_size: images a batch.
        seed: of order, crops and mirror images.
        padding: zeros around a normalised image before its crop is taken.
        flip: whether images are mirrored at random.
    """

    images: ImageTensors
    normalisation: PixelMap
    batch_size: int
    seed: int
    padding: int
    flip: bool
    _constants: tuple[Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        # (pixels / 255 − mean) / std in one multiplication and one subtraction, channels last.
        device = self.images.pixels.device
        mean, std = (value.to(device).permute(1, 2, 0) for value in self.normalisation.constants())
        object.__setattr__(self, "_constants", (1 / (255 * std), mean / std))

    def at(self, iteration: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Return the batch of iteration number `iteration`, counted from 1, or a part of it.

        Random numbers are drawn for the whole batch, so its parts are the same whoever takes them.

        Returns:
            images (batch, channels, height, width), float32, channels last in memory; and targets.
        """
        chosen = _moved(self.order(iteration)[part], self.images.pixels.device)
        images = self.normalised(self.images.pixels[chosen])
        random = np.random.default_rng([self.seed, _CROPS, iteration])
        corners = random.integers(0, 2 * self.padding + 1, (self.batch_size, 2))[part]
        mirrored = random.random(self.batch_size)[part] < 0.5
        if self.padding or self.flip:
            images = crop(images, corners, mirrored & self.flip, self.padding)
        return images.permute(0, 3, 1, 2), self.images.targets[chosen]

    def order(self, iteration: int) -> np.ndarray:
        """Return which images make up a batch: epochs are permutations, and follow one another at once."""
        count, first = len(self.images), (iteration - 1) * self.batch_size
        epochs = range(first // count, (first + self.batch_size - 1) // count + 1)
        stream = np.concatenate([_permutation(self.seed, epoch, count) for epoch in epochs])
        start = first - epochs[0] * count
        return stream[start : start + self.batch_size]

    def plain(self, chosen: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return chosen images, only normalised, and their targets."""
        images = self.normalised(self.images.pixels[chosen])
        return images.permute(0, 3, 1, 2), self.images.targets[chosen]

    def normalised(self, pixels: Tensor) -> Tensor:
        """Return uint8 pixels (batch, height, width, channels) normalised, in float32."""
        scale, shift = self._constants
        return pixels.to(torch.float32).mul_(scale).sub_(shift)


def crop(images: Tensor, corners: np.ndarray, mirrored: np.ndarray, padding: int) -> Tensor:
    """Return a crop of each image, of its own size, out of the image with zeros around it.

    Args:
        images: (batch, height, width, channels).
        corners: (batch, 2), row and column in the padded image where the crop begins.
        mirrored: (batch,), whether the crop is turned left to right.
        padding: zeros on every side.
    """
    _, height, width, _ = images.shape
    padded = torch.nn.functional.pad(images, (0, 0, padding, padding, padding, padding))
    columns = np.where(mirrored[:, None], np.arange(width)[::-1], np.arange(width))
    rows = _moved(corners[:, :1] + np.arange(height), images.device)
    across = _moved(corners[:, 1:] + columns, images.device)
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], across[:, None, :]]


def _moved(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Return `numbers` on the device; from memory that is not pinned, a copy would wait for the device."""
    held = torch.from_numpy(numbers)
    return held if device.type == "cpu" else held.pin_memory().to(device, non_blocking=True)


@lru_cache(maxsize=2)  # a batch may reach over the end of an epoch
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch."""
    return np.random.default_rng([seed, _ORDER, epoch]).permutation(count)
