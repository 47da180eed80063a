"""From what each process of a data-parallel job measured to the numbers of the whole job.

The loss of a job is the mean of its processes' losses, E = 1/W Σ_r E_r, which is what data-parallel
training differentiates. Its batch is all of theirs, one after the other. So

- values of the forward pass are slices of one tensor: ‖x‖² = Σ_r ‖x_r‖²;
- gradients of activations are local to a process, and ∂E/∂x_r = 1/W ∂E_r/∂x_r, so
  ‖∂E/∂x‖² = Σ_r ‖∂E_r/∂x_r‖² / W²;
- ratios sample by sample, such as a cancellation, stay, and their quantiles are over all samples;
- the gradient of a parameter is the mean of the processes' gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from gradflow.errors import ProbeError
from gradflow.probing.pairs import Squares
from gradflow.probing.parameters import Columns, parameter_columns
from gradflow.probing.passes import Passes
from gradflow.probing.sharding import copies, part_here
from gradflow.units.finding import ResidualUnit

Found = TypeVar("Found")


class Job(Protocol):
    """The processes that measure together."""

    @property
    def size(self) -> int:
        """How many there are."""

    def meet(self, what: str) -> None:
        """Wait until every process has come to do `what`, or raise an error after a time."""

    def each(self, value: Any) -> list[Any]:
        """Return every process's `value`, by rank."""

    def mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the mean over the processes of each tensor."""


def of_whole_job(passes: Passes, job: Job) -> Passes:
    """Return what all processes' passes showed, as those of one process with all of their samples.

    Gradients of parameters are left as they are.

    Args:
        passes: this process's.
        job: all processes; each of them must call this.

    Raises:
        ProbeError: if the processes did not run the same units.
    """
    units = [(unit.name, unit.shortcut, unit.shape[1:]) for unit in passes.described]
    hosts: dict[int, Squares] = {}
    told = job.each(
        (
            units,
            passes.batch,
            passes.numel,
            [_on_host(found, hosts) for found in passes.values],
            [_on_host(found, hosts) for found in passes.gradients],
            passes.loss,
            passes.samples_coupled,
        )
    )
    for rank, (others, *_) in enumerate(told):
        if others != units:
            raise ProbeError(
                f"process {rank} ran {len(others)} residual units and another one {len(units)} or others: "
                "only processes that run the same network on parts of one batch are measured together; "
                "whole_job=False measures one alone"
            )
    _, batches, numels, values, gradients, losses, coupled = zip(*told, strict=True)
    known: dict[tuple[int, ...], Squares] = {}
    return replace(
        passes,
        batch=sum(batches),
        numel=[sum(numel) for numel in zip(*numels, strict=True)],
        values=[_together(found, 1.0, known) for found in zip(*values, strict=True)],
        gradients=[_together(found, job.size**-2, known) for found in zip(*gradients, strict=True)],
        value=torch.tensor(sum(losses) / job.size, dtype=torch.float64),
        samples_coupled=any(coupled),
    )


def whole_parameter_columns(
    job: Job,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    units: Sequence[ResidualUnit],
) -> Columns:
    """Return the columns of the table `parameters` where a process may hold parts of them only.

    Args:
        job: all processes; each of them must call this.
        parameters: as for `parameter_columns`.
        gradients: those of the job's loss, whole or sharded as their parameters are.
        units: as for `parameter_columns`.
    """
    here = {name: part_here(parameter) for name, parameter in parameters.items()}
    columns = parameter_columns(
        here, {name: None if one is None else part_here(one) for name, one in gradients.items()}, units
    )
    if all(here[name] is parameter for name, parameter in parameters.items()):
        return columns
    columns["numel"] = np.array([parameter.numel() for parameter in parameters.values()])
    shares = 1 / np.array([copies(parameter, job.size) for parameter in parameters.values()])
    parts = job.each({name: columns[name] for name in ("norm", "grad_norm", "nonfinite")})
    for name in ("norm", "grad_norm"):
        columns[name] = np.sqrt(sum(shares * part[name] ** 2 for part in parts))
    columns["nonfinite"] = np.rint(sum(shares * part["nonfinite"] for part in parts)).astype(np.int64)
    return columns


def _on_host(found: Found, hosts: dict[int, Squares]) -> Found:
    """Return what was read for one unit, on the host; one `Squares` stays one, whatever it stands for.

    Args:
        found: `UnitValues` or `UnitGradients`.
        hosts: what was moved before, by the identity of what it was.
    """

    def moved(value: Any) -> Any:
        if isinstance(value, Squares):
            if id(value) not in hosts:
                hosts[id(value)] = Squares(value.per_sample.cpu(), value.nonfinite.cpu())
            return hosts[id(value)]
        return value if value is None else value.cpu()

    changes = {field.name: moved(getattr(found, field.name)) for field in fields(found)}  # type: ignore[arg-type]
    return replace(found, **changes)  # type: ignore[type-var]


def _together(found: Sequence[Found], factor: float, known: dict[tuple[int, ...], Squares]) -> Found:
    """Return what all processes read for one unit, sample after sample.

    Args:
        found: `UnitValues` or `UnitGradients` of each process.
        factor: what squares and products are multiplied by.
        known: what was put together before, by the identity of its parts.
    """

    def joined(values: tuple[Any, ...]) -> Any:
        there = [value for value in values if value is not None]
        if not there:
            return None
        if not isinstance(there[0], Squares):
            return torch.cat([value.reshape(-1) for value in there]) * factor
        key = tuple(id(value) for value in values)
        if key not in known:
            per_sample = torch.cat([value.per_sample.reshape(-1) for value in there]).double() * factor
            known[key] = Squares(per_sample, torch.stack([value.nonfinite.sum() for value in there]).sum())
        return known[key]

    names = [field.name for field in fields(found[0])]  # type: ignore[arg-type]
    changes = {name: joined(tuple(getattr(one, name) for one in found)) for name in names}
    return replace(found[0], **changes)  # type: ignore[type-var]
