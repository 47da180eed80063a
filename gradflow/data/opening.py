"""`open_data`: from the words of `--data` to a source of batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from gradflow.data.cifar import Cifar, default_root
from gradflow.data.custom import CustomBatches
from gradflow.data.folder import ImageFolder
from gradflow.data.normalisation import PixelMap
from gradflow.data.source import DataSource, Split
from gradflow.data.synthetic import SyntheticImages
from gradflow.errors import DataError
from gradflow.importing import is_object_name

FORMS = "synthetic, cifar10, cifar100, folder:PATH or package.module:callable"


def open_data(
    spec: str,
    *,
    split: Split = "train",
    batch_size: int = 32,
    seed: int = 0,
    input_shape: Sequence[int] = (3, 32, 32),
    num_classes: int | None = None,
    download: bool = False,
    root: str | Path | None = None,
    name: str | None = None,
    normalisation: PixelMap | None = None,
) -> DataSource:
    """Open a data source; batches depend on the arguments alone.

    Args:
        spec: `synthetic`, `cifar10`, `cifar100`, `folder:PATH` or `package.module:callable`.
        split: `train` or `test`.
        batch_size: samples a batch; a user's own callable may have its own.
        seed: of the choice and order of the samples; synthetic ones are made from it.
        input_shape: channels, height and width of an image.
        num_classes: outputs of the model, which the data's classes must equal; synthetic
            images have as many (10 if None).
        download: whether CIFAR may be fetched.
        root: where CIFAR is, or goes; `gradflow` in the user's cache directory if None.
        name: what a record calls a folder; the last part of its path if None.
        normalisation: of images' pixels; what is usual for the data if None.

    Raises:
        DataError: if there is no such data, it is damaged, or it does not fit the model.
        InstallationError: if torchvision, which reads CIFAR, cannot be imported.
    """
    if split not in get_args(Split):
        raise DataError(f"split '{split}' is none of {', '.join(get_args(Split))}")
    if batch_size < 1:
        raise DataError(f"batch size is {batch_size}; expected at least 1")
    if seed < 0:
        raise DataError(f"seed of the data is {seed}; expected at least 0")
    if num_classes is not None and num_classes < 1:
        raise DataError(f"num_classes is {num_classes}; expected at least 1")
    source: DataSource
    kind, _, rest = spec.partition(":")
    if spec == "synthetic":
        shape = _image_shape(spec, input_shape)
        source = SyntheticImages(split, batch_size, seed, shape, num_classes or 10, normalisation)
    elif spec in {"cifar10", "cifar100"}:
        shape = _image_shape(spec, input_shape)
        where = Path(root) if root is not None else default_root()
        source = Cifar(
            spec,
            split,
            batch_size,
            seed,
            shape,
            root=where,
            download=download,
            normalisation=normalisation,
        )
    elif kind == "folder" and rest:
        folder, shape = Path(rest).expanduser(), _image_shape(spec, input_shape)
        source = ImageFolder(folder, split, batch_size, seed, shape, name, normalisation)
    elif is_object_name(spec):
        source = CustomBatches(
            spec,
            split,
            seed,
            batch_size=batch_size,
            input_shape=tuple(input_shape),
            num_classes=num_classes,
        )
    else:
        hint = f"; for a folder of images, folder:{spec}" if spec and Path(spec).is_dir() else ""
        raise DataError(f"unknown data '{spec}'; expected {FORMS}{hint}")
    if num_classes is not None:
        source.check_classes(num_classes)
    return source


def _image_shape(spec: str, shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise DataError(
            f"{spec} makes images of channels, height and width, but the input shape is "
            f"{','.join(map(str, shape)) or 'empty'}; for other inputs take --data package.module:callable"
        )
    return shape[0], shape[1], shape[2]
