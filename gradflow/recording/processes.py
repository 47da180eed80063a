"""The processes of a data-parallel job, as far as measuring in all of them together takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gradflow.errors import ProbeError
from gradflow.importing import describe

_CHUNK = 1 << 22
"""Elements that are averaged in one call: 16 MiB in float32."""


class Processes:
    """What the recorders of a job's processes tell one another, over connections of their own.

    The job's own process group is left to the job: what is told here cannot get between its gradients.

    Args:
        timeout: seconds after which a process that says nothing is given up.

    Attributes:
        rank: number of this process.
        size: how many there are.

    Raises:
        ProbeError: from any method, if the others do not take part within `timeout` seconds.
    """

    def __init__(self, timeout: float) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self._timeout = timedelta(seconds=timeout)
        self._group: Any = None
        with self._waiting("enter a gradflow.Recorder"):
            self._group = dist.new_group(backend="gloo", timeout=self._timeout)

    @classmethod
    def of_this_job(cls, timeout: float) -> Processes | None:
        """Return the processes of the job that this one is in; None if it is alone."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return cls(timeout)
        return None

    def meet(self, what: str) -> None:
        """Wait until every process has come here to do the same.

        Args:
            what: what they are about to do, such as "measure iteration 100".

        Raises:
            ProbeError: if another is about to do something else, or does not come.
        """
        with self._waiting(what):
            dist.monitored_barrier(self._group, timeout=self._timeout, wait_all_ranks=True)
        for rank, other in enumerate(self.each(what)):
            if other != what:
                raise ProbeError(
                    f"process {self.rank} is about to {what}, and process {rank} to {other}: every process "
                    "must call recorder.step() as often as the others, with the same every= and iteration="
                )

    def each(self, value: Any) -> list[Any]:
        """Return every process's `value`, by rank."""
        values: list[Any] = [None] * self.size
        with self._waiting("tell what they measured"):
            dist.all_gather_object(values, value, group=self._group)
        return values

    def mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the mean over the processes of each tensor, in float32 at least.

        Args:
            tensors: of the same shapes in each process. None counts as zero where another process has a
                tensor; it stays None where none has.
        """
        shapes = self.each([None if tensor is None else tensor.shape for tensor in tensors])
        known = [
            next((shape for shape in found if shape is not None), None) for found in zip(*shapes, strict=True)
        ]
        means: list[Tensor | None] = [None] * len(tensors)
        batch: dict[int, torch.Size] = {}
        for index, shape in enumerate(known):
            if shape is not None:
                batch[index] = shape
            full = sum(one.numel() for one in batch.values()) >= _CHUNK
            if batch and (full or index == len(known) - 1):
                self._average(batch, tensors, means)
                batch = {}
        return means

    def close(self) -> None:
        """Give the connections back."""
        if self._group is not None and dist.is_initialized():
            dist.destroy_process_group(self._group)
        self._group = None

    def _average(
        self, batch: dict[int, torch.Size], tensors: Sequence[Tensor | None], means: list[Tensor | None]
    ) -> None:
        """Put the means of the tensors whose numbers and shapes `batch` has into `means`, in one call."""
        device = next((tensor.device for tensor in tensors if tensor is not None), torch.device("cpu"))
        flat = [_flat(tensors[index], shape, device) for index, shape in batch.items()]
        together = torch.cat(flat)
        with self._waiting("average the gradients that they measured"):
            dist.all_reduce(together, group=self._group)
        together /= self.size
        for index, part in zip(batch, torch.split(together, [len(one) for one in flat]), strict=True):
            means[index] = part

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        """Explain what a collective operation raises when others do not take part.

        Raises:
            ProbeError: in its place.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:  # the latter if there is no process group any more
            raise ProbeError(
                f"process {self.rank} waited for the job's {self.size} processes to {what}, for at most "
                f"{self._timeout.total_seconds():g} s, and not all did ({describe(error)[:160]}); each must "
                "be in a gradflow.Recorder and call step() as often; whole_job=False measures one alone"
            ) from error


def _flat(tensor: Tensor | None, shape: torch.Size, device: torch.device) -> Tensor:
    """Return a tensor's elements in float32 at least; zeros for None."""
    if tensor is None:
        return torch.zeros(shape.numel(), device=device)
    flat = tensor.detach().reshape(-1)
    return flat if flat.dtype == torch.float64 else flat.float()
