"""A process of a job that is started by torchrun, for `test_processes.py`: trains, and records.

Run as `_together.py WAY FOLDER`. What each process finds goes to FOLDER/WAY-RANK.pt.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from small_networks import Chain, labels, rows, seeded
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import gradflow
from gradflow.errors import GradflowError
from gradflow.integrations.csv import CsvLogger

BATCH = 6
"""Samples of the whole job."""

PATIENCE = 3.0
"""Seconds for which processes that are left alone wait."""


def network() -> nn.Module:
    """Return the network that all of them train."""
    return seeded(Chain)


def part(rank: int, size: int, step: int = 0) -> tuple[Tensor, Tensor]:
    """Return one process's samples of a batch: processes take turns."""
    return (rows(BATCH) + step)[rank::size], labels(BATCH)[rank::size]


def train(
    model: nn.Module,
    recorder: gradflow.Recorder,
    rank: int,
    *,
    steps: int = 3,
    each: Callable[[int], None] = lambda _: None,
    loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor] = lambda model, x, y: F.cross_entropy(model(x), y),
) -> None:
    """Train for some steps inside `recorder`, gradients clipped."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with recorder:
        for step in range(steps):
            each(step)
            optimizer.zero_grad()
            loss_of(model, *part(rank, 2, step)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            recorder.step()


def ddp(rank: int, folder: Path) -> Any:
    model = DistributedDataParallel(network())
    out, logger = folder / "record", [CsvLogger(folder / "csv")] if rank == 0 else []
    recorder = gradflow.Recorder(model, every=2, out=out, loggers=logger)
    train(model, recorder, rank)
    return found(recorder)


def ddp_without_recorder(rank: int, folder: Path) -> Any:
    model = DistributedDataParallel(network())
    train(model, gradflow.Recorder(network(), every=2, iteration=1, whole_job=False), rank, steps=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        optimizer.zero_grad()
        inputs, targets = part(rank, 2, step)
        F.cross_entropy(model(inputs), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    return {"weights": {name: value.clone() for name, value in model.module.state_dict().items()}}


def ddp_accumulating(rank: int, folder: Path) -> Any:
    """The first part of a step is not averaged by DDP; it is measured all the same."""
    model = DistributedDataParallel(
        seeded(lambda: Chain(lambda x, f: x + checkpoint(f, x, use_reentrant=False)))
    )
    with gradflow.Recorder(model.module, every=1) as recorder:
        inputs, targets = part(rank, 2)
        with model.no_sync():
            F.cross_entropy(model(inputs), targets).backward()
        F.cross_entropy(model(inputs + 1), targets).backward()
        recorder.step()
    return found(recorder)


def ddp_alone(rank: int, folder: Path) -> Any:
    """Only process 1 measures, its own samples."""
    model = DistributedDataParallel(network())
    inputs, targets = part(rank, 2)
    if rank == 0:
        F.cross_entropy(model(inputs), targets).backward()
        return {}
    with gradflow.Recorder(model, every=1, whole_job=False) as recorder:
        F.cross_entropy(model(inputs), targets).backward()
        recorder.step()
    return found(recorder)


def fsdp(rank: int, folder: Path) -> Any:
    model = network()
    for branch in model.branches:
        fully_shard(branch)
    fully_shard(model)
    recorder = gradflow.Recorder(model, every=2, out=folder / "sharded")
    train(model, recorder, rank, steps=1)
    return found(recorder)


def fsdp_in_part(rank: int, folder: Path) -> Any:
    """Only one branch is sharded; the other parameters are each process's own."""
    model = network()
    fully_shard(model.branches[1])
    return once(model, rank)


def fsdp_ignoring(rank: int, folder: Path) -> Any:
    """Parameters of a sharded module that it is told to leave alone, with gradients from an earlier pass."""
    model = network()
    ignored = {model.branches[0][0].weight, model.head.bias}
    fully_shard(model, ignored_params=ignored)
    for parameter in ignored:
        parameter.grad = torch.ones_like(parameter)
    return once(model, rank)


def fsdp_of_nothing_that_learns(rank: int, folder: Path) -> Any:
    """What is sharded is frozen."""
    model = network()
    model.stem.requires_grad_(False)
    fully_shard(model.stem)
    return once(model, rank)


def once(model: nn.Module, rank: int) -> dict[str, Any]:
    """Return what is measured of one backward pass; torch clips no mixture of whole and sharded gradients."""
    inputs, targets = part(rank, 2)
    with gradflow.Recorder(model, every=2) as recorder:
        F.cross_entropy(model(inputs), targets).backward()
        recorder.step()
    return found(recorder)


def fsdp_accumulating(rank: int, folder: Path) -> Any:
    model = fully_shard(network())
    inputs, targets = part(rank, 2)
    F.cross_entropy(model(inputs), targets).backward()
    with gradflow.Recorder(model, every=1) as recorder:
        F.cross_entropy(model(inputs), targets).backward()
        recorder.step()
    try:
        gradflow.Recorder(model, whole_job=False).__enter__()
    except GradflowError as error:
        return {**found(recorder), "error": str(error)}
    return {}


def fsdp_blocks(rank: int, folder: Path) -> Any:
    """A plain network, whose blocks are named outright and sharded each for itself."""
    model = nn.Sequential(nn.Linear(4, 4), fully_shard(nn.Linear(4, 4)), nn.Linear(4, 3))
    norm = float(model[1].weight.full_tensor().square().sum() + model[1].bias.full_tensor().square().sum())
    fully_shard(model)
    inputs, targets = part(rank, 2)
    with gradflow.Recorder(model, every=1, units="1") as recorder:
        F.cross_entropy(model(inputs), targets).backward()
        recorder.step()
    return {**found(recorder), "norm": norm**0.5}


def fsdp_gated(rank: int, folder: Path) -> Any:
    """Shortcut and branch share a gate, which takes a second pass; the loop goes on without a recorder."""

    def combine(x: Tensor, f: nn.Module) -> Tensor:
        gate = x.sigmoid()
        return (1 - gate) * x + gate * f(x)

    model = fully_shard(seeded(lambda: Chain(combine)))
    inputs, targets = part(rank, 2)
    try:
        with gradflow.Recorder(model, every=1):
            F.cross_entropy(model(inputs), targets).backward()
    except GradflowError as error:
        return {"error": str(error), "modes": torch._C._len_torch_function_stack()}
    return {}


def stops(rank: int, folder: Path) -> Any:
    """Process 1 measures nothing after the first step, for a long time; process 0 must hear of it."""

    def dawdle(step: int) -> None:
        if rank == 1 and step == 1:
            time.sleep(2 * PATIENCE)

    return failing(rank, steps=2, every=1 + rank, each=dawdle)


def leaves(rank: int, folder: Path) -> Any:
    """Process 1 leaves its recorder after the first step."""
    return failing(rank, steps=2 - rank, every=1, each=lambda _: None)


def failing(rank: int, *, steps: int, every: int, each: Callable[[int], None]) -> dict[str, Any]:
    """Train, and return the error that comes of it and how long its step took."""
    model, began = network(), [0.0]

    def begin(step: int) -> None:
        began.append(time.monotonic())
        each(step)

    recorder = gradflow.Recorder(model, every=every, timeout=PATIENCE)
    try:
        train(model, recorder, rank, steps=steps, each=begin)
    except GradflowError as error:
        return {**found(recorder), "error": str(error), "seconds": time.monotonic() - began[-1]}
    return {}


def never_enters(rank: int, folder: Path) -> Any:
    """Process 1 has no recorder at all."""
    if rank == 1:
        time.sleep(2 * PATIENCE)
        return {}
    began = time.monotonic()
    try:
        gradflow.Recorder(network(), timeout=PATIENCE).__enter__()
    except GradflowError as error:
        return {"error": str(error), "seconds": time.monotonic() - began}
    return {}


def other_cadence(rank: int, folder: Path) -> Any:
    """Process 1 is a step behind: each hears what the other is about to do."""
    model = network()
    recorder = gradflow.Recorder(model, every=1, iteration=rank, timeout=PATIENCE)
    try:
        train(model, recorder, rank)
    except GradflowError as error:
        return {"error": str(error)}
    return {}


def found(recorder: gradflow.Recorder) -> dict[str, Any]:
    """Return what a recorder measured, and what is left attached."""
    record = recorder.record
    tables = {name: getattr(record, name).to_dict("list") for name in ("units", "parameters", "steps")}
    weights = {}
    for name, value in recorder._model.state_dict().items():
        weights[name] = value.full_tensor() if hasattr(value, "full_tensor") else value.clone()
    return {
        **tables,
        "weights": weights,
        "batch_size": record.meta["batch_size"],
        "notes": record.meta["notes"],
        "skipped": record.meta["skipped"],
        "modes": torch._C._len_torch_function_stack(),
    }


WAYS: dict[str, Callable[[int, Path], Any]] = {
    way.__name__: way
    for way in (
        *(
            ddp,
            ddp_without_recorder,
            ddp_accumulating,
            ddp_alone,
            fsdp,
            fsdp_in_part,
            fsdp_ignoring,
            fsdp_of_nothing_that_learns,
            fsdp_accumulating,
            fsdp_blocks,
            fsdp_gated,
        ),
        *(stops, leaves, never_enters, other_cadence),
    )
}


if __name__ == "__main__":
    ways, place = sys.argv[1].split(","), Path(sys.argv[2])
    dist.init_process_group("gloo")
    for name in ways:
        torch.save(WAYS[name](dist.get_rank(), place), place / f"{name}-{dist.get_rank()}.pt")
        dist.barrier()
    dist.destroy_process_group()
