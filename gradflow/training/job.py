"""One process or several: which of them this is, and what they tell one another.

`torchrun` starts the processes, watches them, and ends the job when one dies; here is only what
each of them does with its rank. Gradients are averaged by `DistributedDataParallel`.
"""

from __future__ import annotations

import copy
import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from gradflow.errors import TrainingError
from gradflow.importing import describe


@dataclass(frozen=True)
class Job:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 writes and measures.
        size: how many there are.
        device: where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes and measures."""
        return self.rank == 0

    def part(self, batch_size: int, accumulate: int, index: int) -> slice:
        """Return this process's part number `index` of a batch that is run in `accumulate` parts.

        Raises:
            TrainingError: if the batch cannot be divided equally.
        """
        parts = self.size * accumulate
        if batch_size % parts:
            raise TrainingError(
                f"a batch of {batch_size} cannot be divided among {self.size} processes in {accumulate} "
                f"parts; take a --batch-size that is a multiple of {parts}"
            )
        length = batch_size // parts
        # Part by part, each over all ranks: one process that takes them in turn has the same parts.
        start = (index * self.size + self.rank) * length
        return slice(start, start + length)

    def averaging(self, model: nn.Module) -> nn.Module:
        """Return a module that shares the tensors of `model` and averages gradients over the job."""
        if self.size == 1:
            return model
        shared: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        # The network itself must stay as it is: what measures it runs in one process only, where a
        # synchronised BN would wait for the others for ever.
        twin = copy.deepcopy(model, shared)
        if self.device.type == "cuda":
            twin = nn.SyncBatchNorm.convert_sync_batchnorm(twin)  # type: ignore[no-untyped-call]
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(twin, device_ids=devices)

    def batch_norm(self) -> str:
        """Return in words over which samples BN takes its statistics."""
        if self.size == 1:
            return "over the samples of each part of a batch"
        if self.device.type == "cuda":
            return "synchronised over all processes"
        return "in each process over its own samples"

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over the job's processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is true in any process."""
        if self.size == 1:
            return flag
        told = torch.tensor([int(flag)], device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told.item())

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Run what is inside in process 0, and only then in the others."""
        if self.size > 1 and not self.is_first:
            dist.barrier()
        yield
        if self.size > 1 and self.is_first:
            dist.barrier()

    def from_each(self, value: Any) -> list[Any]:
        """Return every process's `value`, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: Any) -> Any:
        """Return what process 0 has for `value`."""
        if self.size == 1:
            return value
        holder = [value]
        dist.broadcast_object_list(holder, device=self.device)
        return holder[0]


def without_averaging(model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Return a context in which gradients of one part of a batch stay in this process, but for the last."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


@contextmanager
def joined(device: str) -> Iterator[Job]:
    """Join the job that `torchrun` started, or be a job of one process.

    Args:
        device: `cpu` or `cuda`.

    Yields:
        what this process is in it.

    Raises:
        TrainingError: if another process of the job died, or there are fewer devices than processes.
        RuntimeError: whatever else was raised inside.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Job(0, 1, torch.device(device))
        return
    place = torch.device("cpu")
    if device == "cuda":
        local, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= there:
            raise TrainingError(
                f"process {local} of this machine has no device of its own: there are {there}; "
                f"start it with --nproc-per-node {there}"
            )
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    # Its functions have the default group as a default argument: imported after the group is made, as
    # `DistributedDataParallel` would do, it keeps the group and its threads for ever.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    job = Job(dist.get_rank(), size, place)
    try:
        yield job
    except RuntimeError as error:
        if not _lost_another(error):
            raise
        raise TrainingError(
            f"another process of the job has died ({describe(error)[:120]}); the last checkpoint is whole: "
            "continue with --resume"
        ) from error
    finally:
        gc.collect()  # a `DistributedDataParallel` is part of a cycle, and holds the group
        # Joins the group's threads if nothing else has it. One that lets go of a tensor after the interpreter
        # has begun to end aborts the process.
        dist.destroy_process_group()


def _lost_another(error: RuntimeError) -> bool:
    """Whether this is what a collective operation raises when another process has gone."""
    words = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")
    return any(word in str(error) for word in words)
