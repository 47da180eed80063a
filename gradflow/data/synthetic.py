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

from gradflow.data.source import DataSource, Split
from gradflow.errors import DataError

_NOISE = 0.5
_SCALE = 1.04
"""Brings pixels to a variance near 1; their mean is near 0 as they are made."""


class SyntheticImages(DataSource):
    """As many class-conditional images as one likes.

    Args:
        split: `train` or `test`: different images of the same classes.
        batch_size: images a batch, of classes as equally many as can be.
        seed: of the images and their order.
        input_shape: channels, height and width.
        num_classes: K.
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int, input_shape: tuple[int, int, int], num_classes: int
    ) -> None:
        self.name = "synthetic"
        self.split = split
        self.classes = tuple(f"class {k}" for k in range(num_classes))
        self.normalisation = {"kind": "none"}
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
            random = np.random.default_rng([self._seed, ("train", "test").index(self.split), index])
            targets = self._targets(random)
            yield torch.from_numpy(self._images(targets, random)), torch.from_numpy(targets)

    def _targets(self, random: np.random.Generator) -> np.ndarray:
        """Return the classes of a batch: each as often as any other, give or take one."""
        classes = len(self.classes or ())
        rounds = [random.permutation(classes) for _ in range(ceil(self._batch_size / classes))]
        return random.permutation(np.concatenate(rounds)[: self._batch_size]).astype(np.int64)

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
