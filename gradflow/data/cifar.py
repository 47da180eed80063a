"""CIFAR-10 and CIFAR-100 by torchvision's loader."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import numpy as np

from gradflow.data.normalisation import CIFAR10, CIFAR100, PixelMap
from gradflow.data.source import ImageSet, Split
from gradflow.errors import DataError
from gradflow.importing import describe, import_dependency

_SETS = {"cifar10": ("CIFAR10", CIFAR10), "cifar100": ("CIFAR100", CIFAR100)}


class Cifar(ImageSet):
    """One split of CIFAR-10 or CIFAR-100.

    Args:
        name: `cifar10` or `cifar100`.
        split: `train` or `test`.
        batch_size: images a batch.
        seed: of the order of the images.
        input_shape: must be 3 × 32 × 32.
        root: where the files are, or go.
        download: whether they may be fetched.
        normalisation: of the pixels; published constants of the set if None.

    Raises:
        DataError: if the files are not there or damaged, or the shape is another.
        InstallationError: if torchvision cannot be imported.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        batch_size: int,
        seed: int,
        input_shape: tuple[int, int, int],
        *,
        root: Path,
        download: bool,
        normalisation: PixelMap | None = None,
    ) -> None:
        if input_shape != (3, 32, 32):
            raise DataError(f"{name} has images of 3,32,32, but the model takes {_written(input_shape)}")
        datasets = import_dependency("torchvision.datasets")
        loader, published = _SETS[name]
        try:
            # torchvision tells its progress on standard output, which is for results only.
            with contextlib.redirect_stdout(sys.stderr):
                dataset = getattr(datasets, loader)(root, train=split == "train", download=download)
        except Exception as error:
            if download:
                raise DataError(f"{name} could not be downloaded: {describe(error)}") from error
            raise DataError(
                f"{name} is not in '{root}', or damaged there; fetch it by --download, "
                "or take --data synthetic"
            ) from error
        self.name = name
        self.split = split
        self.classes = tuple(dataset.classes)
        self._images: np.ndarray = dataset.data
        super().__init__(np.array(dataset.targets), batch_size, seed, normalisation or published)
        self._check_batch_size()

    def _pixels(self, index: int) -> np.ndarray:
        return np.asarray(self._images[index])


def default_root() -> Path:
    """Return where downloaded data sets are kept: `gradflow` in the user's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "gradflow"


def _written(shape: tuple[int, ...]) -> str:
    return ",".join(map(str, shape))
