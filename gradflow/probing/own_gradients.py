"""How the gradients of parameters are read in somebody else's backward pass: alone, or in a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from gradflow.errors import ProbeError
from gradflow.probing.own_backward import differentiate
from gradflow.probing.parameters import Columns, parameter_columns
from gradflow.probing.passes import Passes
from gradflow.probing.sharding import ShardedGradients, WholeParameters, is_sharded
from gradflow.probing.whole_job import Job, of_whole_job, whole_parameter_columns
from gradflow.record import Record
from gradflow.units.finding import ResidualUnit

_WHERE = (
    "gradients are those of the training loop's own backward pass as it left them: before they were clipped "
    "or applied"
)


class GradientReader:
    """Reads the gradients of a user's backward pass, of the whole job if there is one.

    In a job the loss is the mean of its processes' losses; see `gradflow.probing.whole_job`.

    Args:
        job: the processes that measure together; None if this one is alone.
        doing: what they are about to do, in words.
        sharded: the parameters, if a process holds only parts of them.
    """

    def __init__(self, job: Job | None, doing: str, sharded: WholeParameters | None) -> None:
        self._job = job
        self._doing = doing
        self._parts = {} if sharded is None else sharded.parts
        self._sharded = ShardedGradients(sharded, job) if sharded is not None and job is not None else None

    def differentiate(
        self, run: Callable[..., Any], parameters: list[Tensor], again: bool
    ) -> Sequence[Tensor | None]:
        """Run the pass and return what each parameter got in it.

        Args:
            run: the pass.
            parameters: whose gradients are wanted, as the graph has them.
            again: whether the graph is to be kept.
        """
        if self._job is None:
            return differentiate(run, parameters, again)
        self._job.meet(self._doing)
        if self._sharded is not None:
            return self._sharded.differentiate(run, parameters, again)
        return differentiate(run, parameters, again, averaged=True)

    def complete(self, passes: Passes) -> Passes:
        """Return what the passes of all processes showed."""
        if self._job is None:
            return passes
        passes = of_whole_job(passes, self._job)
        if self._sharded is not None:
            passes.parameters = dict(self._parts)
            return passes
        found = passes.parameter_gradients
        passes.parameter_gradients = dict(zip(found, self._job.mean(list(found.values())), strict=True))
        return passes

    def columns(
        self,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor | None],
        units: Sequence[ResidualUnit],
    ) -> Columns:
        """Return the columns of the table `parameters`."""
        if self._job is None:
            return parameter_columns(parameters, gradients, units)
        return whole_parameter_columns(self._job, parameters, gradients, units)

    def explain(self, record: Record) -> None:
        """Say in a record how its gradients were read."""
        record.meta["notes"].append(_WHERE)
        if self._job is not None:
            record.meta["notes"].append(
                f"numbers are those of the whole job of {self._job.size} processes: their samples are one "
                "batch, and the loss is the mean of theirs"
            )
        if self._sharded is not None:
            record.meta["notes"] += self._sharded.notes
            record.meta["skipped"] += self._sharded.skipped


def sharded_parameters(model: nn.Module, job: Job | None) -> WholeParameters | None:
    """Return what is to be learnt of a model's parameters while it runs; None if they are not sharded.

    Raises:
        ProbeError: if they are, and this process measures alone.
    """
    if not any(is_sharded(parameter) for parameter in model.parameters()):
        return None
    if job is None:
        raise ProbeError(
            f"{type(model).__name__} is sharded over processes by fully_shard, and can only be measured by "
            "all of them together: leave out whole_job=False"
        )
    return WholeParameters(model)
