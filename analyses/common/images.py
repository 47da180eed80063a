"""Images for an analysis, and the batch that a seed stands for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from torch import Tensor

from gradflow.checkpoint import Checkpoint
from gradflow.cli.subject import describe_data, trained_with
from gradflow.data import open_data
from gradflow.data.normalisation import PixelMap
from gradflow.record import mask_paths


@dataclass(frozen=True)
class Images:
    """Where the images come from.

    Attributes:
        spec: as `gradflow probe --data` takes it.
        name: what the record calls a folder, or None.
    """

    spec: str
    name: str | None

    @property
    def shown(self) -> str:
        """The name that is published; no path."""
        return self.name or mask_paths([self.spec]).removeprefix("folder:")


def load_batch(
    images: Images, batch_size: int, seed: int, split: str = "train", checkpoint: Checkpoint | None = None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return the images and labels that `seed` stands for, and what a record says of them.

    For a network with a checkpoint they are normalised as in its training.

    Raises:
        DataError: if there are none.
    """
    if checkpoint is None:
        return _usual_batch(images, batch_size, seed, split)
    return _batch(images, batch_size, seed, split, trained_with(checkpoint))


@lru_cache(maxsize=4)
def _usual_batch(
    images: Images, batch_size: int, seed: int, split: str
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    return _batch(images, batch_size, seed, split, None)


def _batch(
    images: Images, batch_size: int, seed: int, split: str, normalisation: PixelMap | None
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    source = open_data(
        images.spec,
        split=split,
        batch_size=batch_size,
        seed=seed,
        num_classes=10,
        name=images.name,
        normalisation=normalisation,
    )
    inputs, targets = next(iter(source.batches(1)))
    assert isinstance(inputs, Tensor)
    return inputs, targets, describe_data(source)
