"""What every data source offers: a name, classes, and batches that depend on nothing but the seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradflow.data.normalisation import PixelMap
from gradflow.errors import DataError
from gradflow.units import Inputs

Batch = tuple[Inputs, Any]
"""Inputs, as a model is called with them, and targets, as its loss takes them."""

Split = Literal["train", "test"]


class DataSource(ABC):
    """Batches for a measurement.

    Attributes:
        name: what a record calls the data; no path.
        split: `train` or `test`.
        classes: names of the classes, by target; None where there are none, or nobody says.
        normalisation: what was done to the pixels, ready for JSON.
    """

    name: str
    split: Split
    classes: tuple[str, ...] | None
    normalisation: dict[str, Any]

    @abstractmethod
    def batches(self, count: int) -> Iterator[Batch]:
        """Yield `count` batches; the same ones on every call.

        Args:
            count: at least 1.

        Raises:
            DataError: if there are not so many, or one cannot be read.
        """

    def all_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return every image as uint8 (images, height, width, channels), and the classes, int64.

        Raises:
            DataError: if the data has no end, or is not images, or one cannot be read.
        """
        raise DataError(
            f"{self.name} offers batches, not a set of images, and training goes over a set many times; "
            "take --data cifar10, cifar100, folder:PATH or synthetic"
        )

    def check_classes(self, outputs: int) -> None:
        """Check that a model with so many outputs fits.

        Raises:
            DataError: if the data has another number of classes.
        """
        if self.classes is not None and len(self.classes) != outputs:
            raise DataError(
                f"{self.name} has {len(self.classes)} classes, but the model has {outputs} outputs; "
                f"take --num-classes {len(self.classes)}, or other data"
            )


class ImageSet(DataSource):
    """A finite set of images, of which a seeded permutation is taken batch by batch, each image once.

    Args:
        targets: class of each image.
        batch_size: images a batch.
        seed: of the permutation.
        normalisation: of the pixels.
    """

    def __init__(self, targets: np.ndarray, batch_size: int, seed: int, normalisation: PixelMap) -> None:
        self._targets = targets
        self._batch_size = batch_size
        self._seed = seed
        self._normalisation = normalisation
        self.normalisation = normalisation.to_dict()

    @abstractmethod
    def _pixels(self, index: int) -> np.ndarray:
        """Return image number `index`: (height, width, channels), 0 to 255."""

    def all_pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Return every image as uint8 (images, height, width, channels), and the classes, int64.

        Raises:
            DataError: if one cannot be read.
        """
        # Files are read while others are decoded: both let go of the interpreter.
        with ThreadPoolExecutor() as pool:
            pixels = list(pool.map(self._pixels, range(len(self._targets))))
        return np.stack(pixels), self._targets.astype(np.int64)

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `count` batches of images (batch, channels, height, width), float32, and classes, int64.

        Raises:
            DataError: if the set has too few images, or one cannot be read.
        """
        available = len(self._targets) // self._batch_size
        if not 1 <= count <= available:
            raise DataError(
                f"{count} batches of {self._batch_size} were asked for; the {len(self._targets)} images of "
                f"{self.name} ({self.split}) make 1 to {available}"
            )
        order = np.random.default_rng(self._seed).permutation(len(self._targets))
        for start in range(0, count * self._batch_size, self._batch_size):
            chosen = order[start : start + self._batch_size]
            pixels = torch.from_numpy(np.stack([self._pixels(int(index)) for index in chosen]))
            targets = torch.from_numpy(self._targets[chosen].astype(np.int64))
            yield self._normalisation.apply(pixels.permute(0, 3, 1, 2)), targets

    def _check_batch_size(self) -> None:
        """Check that at least one batch can be made.

        Raises:
            DataError: if not.
        """
        if self._batch_size > len(self._targets):
            raise DataError(
                f"batch size {self._batch_size} is larger than {self.name} ({self.split}), which has "
                f"{len(self._targets)} images; take --batch-size {len(self._targets)} or less"
            )
