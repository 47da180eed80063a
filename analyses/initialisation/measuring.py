"""Measuring untrained networks, one seed at a time, with every measurement kept on disk.

A seed decides everything: the initial weights and which images are in the batch. What was measured
is kept as records in a work directory, so an interrupted run takes up where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from common.images import Images, load_batch
from torch import Tensor, nn

from gradflow.errors import RecordError
from gradflow.models import ResidualNetwork, build_model, make_spec
from gradflow.probing import BatchNormMode, probe
from gradflow.record import Record, load_record

MODES: tuple[BatchNormMode, ...] = ("batch", "frozen")
DEEP = 1000
"""From this depth on batches are smaller."""

_ZOO_UNITS = r"stage\d\.\d+"
_VARIANCES = "variances.csv"


@dataclass(frozen=True)
class Case:
    """One network, as it is measured.

    Attributes:
        network: `preact`, `resnet` or `plain`.
        depth: number of layers, with `-bottleneck` or the like where the depth does not say it.
        batch_size: images a batch.
        seeds: how many times it is measured.
    """

    network: str
    depth: str
    batch_size: int
    seeds: int

    @property
    def name(self) -> str:
        """The network's name in the zoo."""
        return f"{self.network}{self.depth}"

    @property
    def unit(self) -> str:
        """`basic` or `bottleneck`."""
        return make_spec(self.name).unit

    @property
    def dtype(self) -> str:
        """A plain network's gradients span more decades than float32 has."""
        return "float64" if self.network == "plain" else "float32"


@dataclass(frozen=True)
class Measurement:
    """What one seed showed.

    Attributes:
        case: the network.
        seed: of weights and batch.
        records: by BN mode.
        variances: one row a unit: `variance`, the variance of each channel of y_l over images and
            pixels, averaged over channels; `harmonic_variance`, the same with a harmonic mean.
    """

    case: Case
    seed: int
    records: dict[str, Record]
    variances: pd.DataFrame


def measure(case: Case, seed: int, images: Images, work: Path, *, redraw: bool = False) -> Measurement:
    """Return what `seed` shows: from `work` if it was measured there before, else measured now.

    Raises:
        GradflowError: if the network, the images or the work directory cannot be used.
        RecordError: if `redraw` forbids to measure what is not there.
    """
    place = work / f"{case.name}-seed{seed}"
    kept = _kept(place, case, seed, images)
    if kept is not None:
        return kept
    if redraw:
        raise RecordError(f"'{place}' was not measured: give --work as it was, or leave out --redraw")
    inputs, targets, data = load_batch(images, case.batch_size, seed)
    dtype = getattr(torch, case.dtype)
    model = build_model(case.name, seed=seed).to(dtype=dtype, memory_format=torch.channels_last)
    inputs = inputs.to(dtype=dtype, memory_format=torch.channels_last)
    variances = channel_variances(model, inputs)
    records = {}
    for bn in MODES:
        meta = {"model": {"name": case.name}, "data": data, "seeds": [seed]}
        units = _ZOO_UNITS if case.network == "plain" else None
        records[bn] = probe(model, inputs, targets, bn=bn, units=units, meta=meta)
        records[bn].save(place / bn, force=True)
    variances.to_csv(place / _VARIANCES, index=False)  # last, for it completes the measurement
    return Measurement(case, seed, records, variances)


def channel_variances(model: nn.Module, inputs: Tensor) -> pd.DataFrame:
    """Return the variance of the channels of every unit's y_l, over images and pixels.

    BN takes the same statistics, with the batch's own; a pre-activation unit's output is y_l itself.

    Args:
        model: a network of the zoo; its BN buffers are changed.
        inputs: images (batch, channels, height, width).

    Returns:
        `unit`, `variance` and `harmonic_variance`, the mean and the harmonic mean over channels.
    """
    rows: list[dict[str, Any]] = []
    with _each_unit(model, rows), torch.no_grad():
        model.train()(inputs)
    return pd.DataFrame(rows)


@contextmanager
def _each_unit(model: nn.Module, rows: list[dict[str, Any]]) -> Iterator[None]:
    def read(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        variance = output.double().var((0, 2, 3), correction=0)
        rows.append(
            {
                "unit": len(rows),
                "variance": float(variance.mean()),
                "harmonic_variance": float(1 / (1 / variance).mean()),
            }
        )

    assert isinstance(model, ResidualNetwork)
    units = [unit for stage in (model.stage1, model.stage2, model.stage3) for unit in stage]
    handles = [unit.register_forward_hook(read) for unit in units]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _kept(place: Path, case: Case, seed: int, images: Images) -> Measurement | None:
    """Return the measurement at `place`; None if it is not there, not whole, or was made otherwise."""
    if not (place / _VARIANCES).is_file():
        return None
    try:
        records: dict[str, Record] = {bn: load_record(place / bn) for bn in MODES}
    except RecordError:
        return None
    wanted = (case.name, [seed], case.batch_size, case.dtype, images.shown)
    for record in records.values():
        meta = record.meta
        data = str(meta["data"]["name"]).removeprefix("folder:")
        if (meta["model"]["name"], meta["seeds"], meta["batch_size"], meta["dtype"], data) != wanted:
            return None
    return Measurement(case, seed, records, pd.read_csv(place / _VARIANCES))


def cases(
    networks: Sequence[str],
    depths: Sequence[str],
    *,
    seeds: int,
    batch: int,
    deep_batch: int,
) -> list[Case]:
    """Return every network at every depth; from `DEEP` layers on with batches of `deep_batch`."""
    return [
        Case(network, depth, deep_batch if deep else batch, seeds)
        for depth in depths
        for deep in (int(depth.partition("-")[0]) >= DEEP,)
        for network in networks
    ]
