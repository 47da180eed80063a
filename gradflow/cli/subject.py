"""What is measured: which network, with whose weights, on which data, and what a record says of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gradflow.cli.request import MeasurementRequest
from gradflow.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from torch import nn

    from gradflow.checkpoint import Checkpoint
    from gradflow.data import DataSource
    from gradflow.data.normalisation import PixelMap


class NetworkRequest(Protocol):
    """Which network is asked for: the fields of `gradflow.cli.options.NETWORK_OPTIONS`."""

    @property
    def num_classes(self) -> int | None:
        """Outputs."""

    @property
    def shortcut(self) -> str | None:
        """Variant of Table 1."""

    @property
    def activation(self) -> str | None:
        """Variant of Table 2."""

    @property
    def width(self) -> int | None:
        """Channels of the first stage."""

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one image."""


DEFAULT_DATA = "synthetic"
DEFAULT_INPUT_SHAPE = (3, 32, 32)
DEFAULT_CLASSES = 10


def find_preparation(request: MeasurementRequest, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Return the checkpoint that says which data to take and how to normalise them, if there is one.

    Raises:
        CheckpointError: if that of --data-of does not say it.
    """
    from gradflow.checkpoint import load_checkpoint

    if request.data_of is None:
        return checkpoint
    preparation = load_checkpoint(request.data_of)
    if trained_with(preparation) is None:
        raise CheckpointError(
            f"--data-of {preparation.name}: the file does not say how its data were normalised; take a "
            "checkpoint of gradflow train, or the --data of your own that normalise as its training did"
        )
    return preparation


def find_data(request: MeasurementRequest, checkpoint: Checkpoint | None, seed: int) -> DataSource:
    """Open the data of `--data`, else what the checkpoint was trained on, else synthetic images.

    Args:
        request: the options.
        checkpoint: `find_preparation`'s.
        seed: of the data.

    Raises:
        DataError: if they cannot be opened.
    """
    from gradflow.data import open_data

    trained = trained_on(checkpoint)
    if request.data is None and checkpoint is not None and trained is not None:
        kind, _, name = trained.partition(":")
        if kind == "folder" and not Path(name).is_dir():  # the name is that of a folder, not its place
            raise DataError(
                f"{checkpoint.name} was trained on {trained}, and a checkpoint does not say where that lies; "
                f"take --data folder:PATH, or --data {DEFAULT_DATA}"
            )
    return open_data(
        request.data or trained or DEFAULT_DATA,
        split=request.split,
        batch_size=request.batch_size,
        seed=seed,
        input_shape=request.input_shape or DEFAULT_INPUT_SHAPE,
        num_classes=request.num_classes,
        download=request.download,
        name=request.data_name,
        normalisation=trained_with(checkpoint),
    )


def find_model(
    request: MeasurementRequest, checkpoint: Checkpoint | None, source: DataSource, seed: int
) -> nn.Module:
    """Build the network, with as many outputs as the data has classes, and load the checkpoint into it."""
    from gradflow.checkpoint import load_into
    from gradflow.models import build_model

    options = model_options(request)
    options.setdefault("num_classes", len(source.classes) if source.classes else DEFAULT_CLASSES)
    model = build_model(request.spec, seed=seed, **options)
    if checkpoint is not None:
        load_into(model, checkpoint)
    return model


def model_options(request: NetworkRequest) -> dict[str, Any]:
    """Return the options of `gradflow.build_model` that were given."""
    options = {
        "num_classes": request.num_classes,
        "shortcut": request.shortcut,
        "activation": request.activation,
        "width": request.width,
        "input_shape": request.input_shape,
    }
    return {name: value for name, value in options.items() if value is not None}


def trained_on(checkpoint: Checkpoint | None) -> str | None:
    """Return the name of the data that the checkpoint says it was trained on."""
    return None if checkpoint is None or checkpoint.data is None else str(checkpoint.data["name"])


def trained_with(checkpoint: Checkpoint | None) -> PixelMap | None:
    """Return the normalisation that the checkpoint says it was trained with, if it holds one."""
    from gradflow.data.normalisation import kept_normalisation

    return (
        None
        if checkpoint is None or checkpoint.data is None
        else kept_normalisation(checkpoint.data.get("normalisation"))
    )


def remarks(checkpoint: Checkpoint | None, source: DataSource) -> Iterator[str]:
    """Yield what a reader of the numbers has to know about the checkpoint."""
    trained = trained_on(checkpoint)
    if checkpoint is not None and trained is not None and trained != source.name:
        yield f"{checkpoint.name} was trained on {trained} and is measured on {source.name}"
    if checkpoint is not None and checkpoint.nonfinite:
        yield f"{checkpoint.name} holds elements that are NaN or infinite: {checkpoint.nonfinite}"


def describe_checkpoint(checkpoint: Checkpoint | None) -> dict[str, Any] | None:
    """Return what a record says of the checkpoint."""
    if checkpoint is None:
        return None
    return {"name": checkpoint.name, "sha256": checkpoint.sha256, "iteration": checkpoint.iteration}


def describe_data(source: DataSource) -> dict[str, Any]:
    """Return what a record says of the data."""
    return {
        "name": source.name,
        "split": source.split,
        "normalisation": source.normalisation,
        "classes": None if source.classes is None else len(source.classes),
    }
