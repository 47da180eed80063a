"""Images in folders: `train/<class>/<image>` and `test/<class>/<image>`, torchvision's ImageFolder layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gradflow.data.normalisation import PixelMap, for_shape
from gradflow.data.source import ImageSet, Split
from gradflow.errors import DataError

_EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp"}
_LAYOUT = "expected train/<class>/<image> and test/<class>/<image>"


class ImageFolder(ImageSet):
    """The images of one split of a folder; only those that a batch needs are decoded.

    Classes are the folders in `train/` in alphabetical order.

    Args:
        folder: holds `train/` and `test/`.
        split: which of them to read.
        batch_size: images a batch.
        seed: of the order of the images.
        input_shape: channels (3 or 1), height and width that every image must have.
        name: what a record calls the data, after `folder:`; the folder's own name if None.
        normalisation: of the pixels; constants for images of unknown origin if None.

    Raises:
        DataError: if the folder is missing, empty, or laid out otherwise.
    """

    def __init__(
        self,
        folder: Path,
        split: Split,
        batch_size: int,
        seed: int,
        input_shape: tuple[int, int, int],
        name: str | None = None,
        normalisation: PixelMap | None = None,
    ) -> None:
        if input_shape[0] not in {1, 3}:
            raise DataError(f"images of {input_shape[0]} channels cannot be read from files; expected 3 or 1")
        self.name = f"folder:{name or folder.resolve().name}"
        self.split = split
        self._folder = folder
        self._shape = input_shape
        self.classes = tuple(_classes(folder, "train"))
        self._check_split()
        self._files: list[Path] = []
        targets: list[int] = []
        for target, label in enumerate(self.classes):
            files = sorted(_images(folder / split / label))
            if not files:
                raise DataError(
                    f"{self.name}: {split}/{label} holds no image ({', '.join(sorted(_EXTENSIONS))}); "
                    "add some, or remove the folder"
                )
            self._files += files
            targets += [target] * len(files)
        super().__init__(np.array(targets), batch_size, seed, normalisation or for_shape(input_shape))
        self._check_batch_size()

    def _check_split(self) -> None:
        found = set(_classes(self._folder, self.split))
        odd = sorted(found.symmetric_difference(self.classes or ()))
        if odd:
            raise DataError(
                f"{self.name}: train/ and {self.split}/ do not hold the same classes; "
                f"only one of them has {', '.join(odd[:5])}{', …' if len(odd) > 5 else ''}"
            )

    def _pixels(self, index: int) -> np.ndarray:
        file = self._files[index]
        shown = file.relative_to(self._folder)
        channels, height, width = self._shape
        try:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{self.name}: {shown} is no image that can be read ({type(error).__name__}); "
                "remove or replace it"
            ) from error
        if pixels.shape[:2] != (height, width):
            raise DataError(
                f"{self.name}: {shown} has {pixels.shape[0]} × {pixels.shape[1]} pixels, but the model takes "
                f"{height} × {width}; resize the images, or, if all have this size, take "
                f"--input-shape {channels},{pixels.shape[0]},{pixels.shape[1]}"
            )
        return pixels.reshape(height, width, channels)


def _classes(folder: Path, split: str) -> list[str]:
    """Return the names of the folders in `folder/split`, sorted.

    Raises:
        DataError: if there is none; the message says what there is instead.
    """
    if not folder.is_dir():
        what = "is not a directory" if folder.exists() else "does not exist"
        raise DataError(f"data folder '{folder}' {what}; {_LAYOUT}")
    if not (folder / split).is_dir():
        held = sorted(entry.name for entry in folder.iterdir())
        raise DataError(
            f"data folder '{folder}' has no {split}/; {_LAYOUT}, and it holds "
            f"{', '.join(held[:5]) or 'nothing'}{', …' if len(held) > 5 else ''}"
        )
    names = sorted(
        entry.name
        for entry in (folder / split).iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        raise DataError(f"data folder '{folder}' has no class folder in {split}/; {_LAYOUT}")
    return names


def _images(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder, followlinks=True):
        for name in names:
            if Path(name).suffix.lower() in _EXTENSIONS and not name.startswith("."):
                yield Path(directory, name)
