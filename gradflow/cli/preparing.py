"""From options to what the library measures: a network, batches, a loss, and what the record is to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradflow.cli.messages import say
from gradflow.cli.request import MeasurementRequest
from gradflow.cli.subject import (
    describe_checkpoint,
    describe_data,
    find_data,
    find_model,
    find_preparation,
    model_options,
    remarks,
)
from gradflow.errors import ProbeError
from gradflow.importing import import_object

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gradflow.probing import BatchNormMode
    from gradflow.record import Record
    from gradflow.units import Inputs


@dataclass(frozen=True)
class Measurement:
    """One batch to be measured: what to call the library with.

    Attributes:
        model: the network, on its device and in its dtype.
        inputs: what it is called with, there too.
        targets: what the loss is given beside the outputs.
        loss: the user's own, or None.
        meta: what the record is to say that the library cannot know.
        notes: sentences for the record, which were said on standard error, too.
        bn: how batch normalisation is to run.
        units: names the units, or None.
    """

    model: nn.Module
    inputs: Inputs
    targets: Any
    loss: Callable[..., torch.Tensor] | None
    meta: dict[str, Any]
    notes: tuple[str, ...]
    bn: BatchNormMode
    units: str | None

    @property
    def seed(self) -> int:
        """The seed of weights and batch."""
        return int(self.meta["seeds"][0])

    def by(self, function: Callable[..., Record], **more: Any) -> Record:
        """Return the record that `function`, `probe` or one of its kind, makes of this batch.

        Args:
            function: is called as `gradflow.probe` is.
            more: what it takes beyond that.
        """
        return function(
            self.model,
            self.inputs,
            self.targets,
            loss=self.loss,
            bn=self.bn,
            units=self.units,
            meta=self.meta,
            **more,
        )


def measurements(request: MeasurementRequest, words: Sequence[str]) -> Iterator[Measurement]:
    """Yield what `request` asks to measure: a measurement for each seed and batch.

    A network without a checkpoint is built anew for each seed; one with a checkpoint is built once,
    and seeds only choose other batches.

    Args:
        request: the options.
        words: the command line, for the record.

    Yields:
        the measurements, seed by seed.
    """
    from gradflow.checkpoint import load_checkpoint
    from gradflow.record import mask_paths

    device = find_device(request.device)
    loss = find_loss(request.loss)
    checkpoint = None if request.checkpoint is None else load_checkpoint(request.checkpoint)
    preparation = find_preparation(request, checkpoint)
    model: nn.Module | None = None
    said: tuple[str, ...] = ()
    for seed in request.all_seeds:
        source = find_data(request, preparation, seed)
        notes = tuple(remarks(checkpoint, source))
        for note in notes:
            if note not in said:
                say(note)
        said = notes
        if model is None or checkpoint is None:
            model = find_model(request, checkpoint, source, seed)
        for index, (inputs, targets) in enumerate(source.batches(request.batches)):
            placed = place(model, inputs, targets, dtype=request.dtype, device=device)
            meta = {
                "command": mask_paths(["gradflow", *words]) if words else None,
                "model": {"name": request.spec, "options": model_options(request)},
                "checkpoint": describe_checkpoint(checkpoint),
                "data": describe_data(source),
                "seeds": [seed],
                "batch_index": index,
            }
            yield Measurement(*placed, loss, meta, notes, request.bn, request.units)


def find_device(name: str) -> str:
    """Return the device to measure on; `auto` is a GPU where there is one.

    Raises:
        ProbeError: if a GPU was asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ProbeError("--device cuda: torch finds no GPU here; take --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name


def find_loss(name: str | None) -> Callable[..., torch.Tensor] | None:
    """Return the loss that `--loss` names.

    Raises:
        ProbeError: if it cannot be imported or called.
    """
    if name is None:
        return None
    loss = import_object(name, ProbeError)
    if not callable(loss):
        raise ProbeError(f"--loss {name} is of type {type(loss).__name__}; expected loss(outputs, targets)")
    return loss  # type: ignore[no-any-return] # the user's own


def place(
    model: nn.Module, inputs: Inputs, targets: Any, *, dtype: str, device: str
) -> tuple[nn.Module, Inputs, Any]:
    """Return network and batch on `device` and in `dtype`; images on a CPU with channels last.

    Channels last is the layout in which a CPU's convolutions are quickest.
    """
    import torch

    from gradflow.units.calling import map_tensors

    kind = getattr(torch, dtype)
    images = isinstance(inputs, torch.Tensor) and inputs.ndim == 4
    channels_last = images and device == "cpu"

    def convert(value: torch.Tensor) -> torch.Tensor:
        floating = value.is_floating_point()
        moved = value.to(device=device, dtype=kind if floating else None)
        if channels_last and floating and moved.ndim == 4:
            return moved.contiguous(memory_format=torch.channels_last)
        return moved

    model = model.to(device=device, dtype=kind)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model, map_tensors(inputs, convert), map_tensors(targets, convert)
