"""`Recorder`: a context manager around a training loop that measures every so many of its steps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

import torch
from torch import nn

from gradflow.errors import ProbeError
from gradflow.probing.own_passes import OwnPasses
from gradflow.record import Record
from gradflow.record.files import require_replaceable
from gradflow.record.storage import RECORD_FILES
from gradflow.recording.logger import Logger
from gradflow.recording.networks import network_of, refuse_nested
from gradflow.recording.processes import Processes
from gradflow.recording.scaling import unscaled
from gradflow.recording.stacking import Stack
from gradflow.units import UnitSelection
from gradflow.units.finding import selector

_RECORDED: WeakSet[nn.Module] = WeakSet()
"""Networks that a recorder is watching now: two on one would trace each other's hooks."""


class Recorder:
    """Measures every `every`-th step of a training loop, in the loop's own passes.

        with gradflow.Recorder(model, every=100, out="runs/mine") as recorder:
            for inputs, targets in batches:
                loss = loss_function(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                recorder.step()

    In a measured step the first `backward` that goes through a forward pass of the model is
    measured, with what `gradflow.probe` measures and by the same means, before anything clips or
    applies the gradients. No pass is made for it, and weights, buffers, gradients and random numbers
    are those of a loop without recorder, bit for bit. Between measured steps nothing is attached to
    the model or to torch.

    Args:
        model: the network that trains; any module of which `backward` goes through. What
            `DistributedDataParallel` or `torch.compile` made of one will do, too.
        every: measure the iterations that this divides; the first is iteration 0.
        out: directory for the record, written when the context closes, also after an exception.
        force: replace a record that is there.
        units: as for `gradflow.probe`.
        iteration: optimiser steps done before the loop begins, in a run that is resumed.
        scaler: the loop's `torch.amp.GradScaler`, whose scale is then divided out.
        loggers: are told of each measurement.
        meta: as for `gradflow.probe`.
        whole_job: in a job of several processes (`torch.distributed`), measure them together: each has a
            recorder, the numbers are those of all samples as one batch, and process 0 writes. False
            measures this process's samples alone, whatever the others do.
        timeout: seconds that the processes wait for one another before that is an error.

    Raises:
        ProbeError: if `model` is no module that can be measured, or `every` is no positive number.
        RecordError: if something is at `out` that may not be replaced.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int = 100,
        out: str | Path | None = None,
        force: bool = False,
        units: UnitSelection | None = None,
        iteration: int = 0,
        scaler: torch.amp.GradScaler | None = None,
        loggers: Sequence[Logger] = (),
        meta: Mapping[str, Any] | None = None,
        whole_job: bool = True,
        timeout: float = 300,
    ) -> None:
        model = network_of(model)
        _require(every, iteration)
        selector(units)  # a wrong expression is said now, not in the middle of a run
        self._out = None if out is None else Path(out)
        self._replaceable = RECORD_FILES if force else frozenset[str]()
        if self._out is not None:
            require_replaceable(self._out, self._replaceable)
        self._model = model
        self._every = every
        self._units = units
        self._scaler = scaler
        self._loggers = tuple(loggers)
        self._meta = dict(meta or {})
        self._whole_job = whole_job
        self._timeout = timeout
        self._job: Processes | None = None
        self._stack = Stack()
        self._iteration = iteration
        self._watching: OwnPasses | None = None
        self._owed: tuple[int, str] | None = None
        self._entered = self._inside = False

    @property
    def iteration(self) -> int:
        """Steps done."""
        return self._iteration

    @property
    def is_inside(self) -> bool:
        """Whether it was entered and not yet left."""
        return self._inside

    @property
    def record(self) -> Record:
        """What was measured so far, stacked; the tables' column `iteration` tells the steps apart.

        Raises:
            ProbeError: if nothing was.
        """
        if not len(self._stack):
            raise ProbeError(
                "nothing has been measured yet: the first measurement is there after the first "
                "recorder.step() that follows loss.backward()"
            )
        return self._stack.whole()

    def __enter__(self) -> Self:
        """Begin to watch.

        Raises:
            ProbeError: if this recorder was entered before, or another is watching the model, a part of it
                or what it is a part of.
        """
        name = type(self._model).__name__
        if self._entered:
            raise ProbeError("this recorder was entered before; make a new gradflow.Recorder for each run")
        if self._model in _RECORDED:
            raise ProbeError(
                f"this {name} is being recorded already; leave the other gradflow.Recorder first"
            )
        refuse_nested(self._model, _RECORDED)
        if self._whole_job:
            self._job = Processes.of_this_job(self._timeout)
        self._entered = self._inside = True
        _RECORDED.add(self._model)
        try:
            self._watch_if_due()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take everything away again, and save."""
        self._inside = False
        _RECORDED.discard(self._model)
        if self._watching is not None:
            self._watching.remove()
            self._watching = None
        if error is None and self._owed is not None and not len(self._stack):
            iteration, why = self._owed
            warnings.warn(
                f"gradflow.Recorder measured nothing of {type(self._model).__name__}: in iteration "
                f"{iteration} and those after it {why}",
                stacklevel=2,
            )
        self._note_owed("no later one was")
        with ExitStack() as stack:  # one that cannot write must not keep the others from it
            if self._job is not None:
                stack.callback(self._job.close)
                if error is None:  # a process that goes away while another reads from it would spoil that
                    stack.callback(self._job.meet, "leave their gradflow.Recorder")
            for logger in self._loggers if self._writes else ():
                stack.callback(logger.close)
            self.save()

    def step(self, *, skipped: str | None = None) -> None:
        """Count one step; to be called once at the end of each, after `optimizer.step()`.

        Args:
            skipped: why the step had no backward pass, where that is no mistake. If it was to be measured
                then the next one is in its place, and a note in the record says so.

        Raises:
            ProbeError: if the step was to be measured and could not be, or outside the context.
        """
        self._iteration += 1
        if self._watching is None and self._iteration % self._every and self._inside:
            return
        self._take(skipped)
        self._watch_if_due()

    def save(self) -> None:
        """Write what was measured so far to `out`, in place of what was written there before.

        Without `out`, before the first measurement, or where another process of the job writes, there is
        nothing to do.

        Raises:
            RecordError: if it cannot be written.
        """
        if self._out is not None and len(self._stack) and self._writes:
            self._stack.whole().save(self._out, force=bool(self._replaceable))
            self._replaceable = RECORD_FILES

    @property
    def _writes(self) -> bool:
        """Whether this process writes what was measured."""
        return self._job is None or self._job.rank == 0

    def _watch_if_due(self) -> None:
        if self._iteration % self._every and self._owed is None:
            return
        weights = {"name": "in training", "sha256": None, "iteration": self._iteration}
        meta = {**self._meta, "checkpoint": weights}
        scale = None if self._scaler is None else self._scaler.get_scale
        self._watching = OwnPasses(
            self._model,
            units=self._units,
            meta=meta,
            scale=scale,
            job=self._job,
            doing=f"measure iteration {self._iteration}",
        )
        self._watching.install()

    def _take(self, skipped: str | None) -> None:
        """Take what the step that ends showed, if it was watched.

        Args:
            skipped: as for `step`.

        Raises:
            ProbeError: if nothing was seen, which must not pass in silence; or outside the context.
        """
        if not self._inside:
            raise ProbeError("recorder.step() belongs inside `with recorder:`")
        watching, self._watching = self._watching, None
        if watching is None:
            return
        record, missing = watching.record, watching.missing
        watching.remove()
        iteration = self._iteration - 1
        if record is None and skipped is not None:
            self._owed = self._owed or (iteration, skipped)
            return
        if record is None:
            raise ProbeError(
                f"iteration {iteration} was to be measured, and {missing}: call recorder.step() once a step, "
                "after loss.backward(), and give the recorder the model that trains"
            )
        self._note_owed(f"iteration {iteration} was, as the first after it that could be")
        if watching.scale != 1:
            record = unscaled(record, watching.scale)
        self._stack.add(record)
        for logger in self._loggers if self._writes else ():
            logger.measured(iteration, record)

    def _note_owed(self, instead: str) -> None:
        """Say in the record what was to be measured and was not, and what became of it."""
        owed, self._owed = self._owed, None
        if owed is not None:
            iteration, why = owed
            self._stack.note(f"iteration {iteration} was to be measured and was not: {why}; {instead}")


def _require(every: Any, iteration: Any) -> None:
    """Check the numbers that a recorder is made with.

    Raises:
        ProbeError: naming the first that cannot be used.
    """
    for name, value, least in (("every", every, 1), ("iteration", iteration, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ProbeError(f"{name} must be a whole number of at least {least}, not {value!r}")
