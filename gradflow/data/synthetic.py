"""Generated images: no download, the same bits for the same seed, and classes that can be learned.

An image of class k of K is a grating at angle πk/K with a random phase, a blob of colour whose
hue and place go round with k, and noise. Which pixels mean which class does not depend on the
seed, so seeds are different samples of one task.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, pi, sqrt

import numpy as np
import torch
from torch import Tensor

from gradflow.data.normalisation import PixelMap
from gradflow.data.source import DataSource, Split
from gradflow.errors import DataError

_NOISE = 0.5
_SCALE = 1.04
"""Brings pixels to a variance near 1; their mean is near 0 as they are made."""

_MID_GREY, _CONTRAST = 127.5, 32.0
"""As bytes: a pixel of 0, and how far away a pixel of 1 is; 1 in 15,000 is cut off at the ends."""

SET_SIZES: dict[Split, int] = {"train": 10_000, "test": 2_000}
"""Images that stand for all of them where a set with an end is needed, as for training."""

_SET_SEED, _SET_BATCH = 0, 100


class SyntheticImages(DataSource):
    """As many class-conditional images as one likes.

    Args:
        split: `train` or `test`: different images of the same classes.
        batch_size: images a batch, of classes as equally many as can be.
        seed: of the images and their order.
        input_shape: channels, height and width.
        num_classes: K.
        normalisation: of pixels as bytes; with None they stay as they are made.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        input_shape: tuple[int, int, int],
        num_classes: int,
        normalisation: PixelMap | None = None,
    ) -> None:
        self.name = "synthetic"
        self.split = split
        self.classes = tuple(f"class {k}" for k in range(num_classes))
        self.normalisation = {"kind": "none"} if normalisation is None else normalisation.to_dict()
        self._normalisation = normalisation
        self._batch_size = batch_size
        self._seed = seed
        self._shape = input_shape

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `count` batches of images (batch, channels, height, width), float32, and classes, int64.

        Raises:
            DataError: if `count` is less than 1.
        """
        if count < 1:
            raise DataError(f"{count} batches were asked for; expected at least 1")
        for index in range(count):
            images, targets = self._batch(self._seed, index, self._batch_size)
            if self._normalisation is not None:
                yield (
                    self._normalisation.apply(torch.from_numpy(_as_bytes(images))),
                    torch.from_numpy(targets),
                )
            else:
                yield torch.from_numpy(images), torch.from_numpy(targets)

    def all_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a set of `SET_SIZES` images as uint8 (images, height, width, channels), and the classes.

        It is the same set for every seed: seeds of a training run differ in what they do with it.
        """
        batches = [
            self._batch(_SET_SEED, index, _SET_BATCH) for index in range(SET_SIZES[self.split] // _SET_BATCH)
        ]
        pixels = np.concatenate([_as_bytes(images).transpose(0, 2, 3, 1) for images, _ in batches])
        return pixels, np.concatenate([targets for _, targets in batches])

    def _batch(self, seed: int, index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng([seed, ("train", "test").index(self.split), index])
        targets = self._targets(random, size)
        return self._images(targets, random), targets

    def _targets(self, random: np.random.Generator, size: int) -> np.ndarray:
        """Return the classes of a batch: each as often as any other, give or take one."""
        classes = len(self.classes or ())
        rounds = [random.permutation(classes) for _ in range(ceil(size / classes))]
        return random.permutation(np.concatenate(rounds)[:size]).astype(np.int64)

    def _images(self, targets: np.ndarray, random: np.random.Generator) -> np.ndarray:
        channels, height, width = self._shape
        turn = (targets / len(self.classes or ()))[:, None, None, None]  # 0 to 1 round the classes
        row = np.linspace(-1, 1, height)[None, None, :, None]
        column = np.linspace(-1, 1, width)[None, None, None, :]
        phase = random.uniform(0, 2 * pi, turn.shape)
        cycles = 2 + targets[:, None, None, None] % 3
        across = np.cos(pi * turn) * column + np.sin(pi * turn) * row
        grating = np.cos(pi * cycles * across + phase)
        hue = np.cos(2 * pi * (turn + np.arange(channels)[None, :, None, None] / channels))
        centre_row, centre_column = 0.5 * np.sin(2 * pi * turn), 0.5 * np.cos(2 * pi * turn)
        centre_row = centre_row + random.normal(0, 0.1, turn.shape)
        centre_column = centre_column + random.normal(0, 0.1, turn.shape)
        blob = np.exp(-2 * ((row - centre_row) ** 2 + (column - centre_column) ** 2))
        noise = random.normal(0, _NOISE, (len(targets), *self._shape))
        images: np.ndarray = _SCALE * (grating + sqrt(2) * hue * blob + noise)
        return images.astype(np.float32)


def _as_bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(_MID_GREY + _CONTRAST * images).clip(0, 255).astype(np.uint8)
