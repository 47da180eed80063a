"""transformers: a recorder as a callback of its `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gradflow.errors import ProbeError
from gradflow.importing import import_dependency
from gradflow.integrations.following import FollowingRecorder
from gradflow.record import Record
from gradflow.recording import Logger
from gradflow.units import UnitSelection

import_dependency("transformers", extra="transformers")
import_dependency("accelerate", extra="transformers")  # the trainer's, which it asks for only when made

from transformers import TrainerCallback  # noqa: E402 - refused above in words


class RecorderCallback(TrainerCallback):
    """Measures every `every`-th optimiser step of `Trainer.train`, as `gradflow.Recorder` does.

        trainer = transformers.Trainer(model, args, callbacks=[RecorderCallback(every=100, out="runs/mine")])

    With gradient accumulation an optimiser step takes several batches, of which the first is measured,
    with the loss that the trainer differentiates: its share of the step's. A trainer does not tell its
    callbacks of an exception, so one that may be followed by more work in the same process belongs
    inside ``with callback:``, which saves and takes everything away then, too.

    Args:
        every: as for `gradflow.Recorder`, in optimiser steps (`state.global_step`).
        out: as for `gradflow.Recorder`.
        force: as for `gradflow.Recorder`.
        units: as for `gradflow.Recorder`.
        loggers: as for `gradflow.Recorder`.
        meta: as for `gradflow.Recorder`.
        whole_job: as for `gradflow.Recorder`.
        timeout: as for `gradflow.Recorder`.
    """

    def __init__(
        self,
        *,
        every: int = 100,
        out: str | Path | None = None,
        force: bool = False,
        units: UnitSelection | None = None,
        loggers: Sequence[Logger] = (),
        meta: Mapping[str, Any] | None = None,
        whole_job: bool = True,
        timeout: float = 300,
    ) -> None:
        self._following = FollowingRecorder(
            every=every,
            out=out,
            force=force,
            units=units,
            loggers=loggers,
            meta=meta,
            whole_job=whole_job,
            timeout=timeout,
        )

    @property
    def record(self) -> Record:
        """What was measured so far; a `gradflow.Record`.

        Raises:
            ProbeError: if nothing was.
        """
        return self._following.record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching, if training did not end by itself."""
        self._following.end(error)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch the network.

        Raises:
            ProbeError: if the trainer says of no model.
        """
        if kwargs.get("model") is None:
            raise ProbeError("the trainer did not say which model it trains")
        scaler = getattr(kwargs.get("optimizer"), "scaler", None)  # accelerate's, under fp16
        self._following.begin(kwargs["model"], state.global_step, scaler)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count an optimiser step."""
        self._following.reached(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop watching, and save."""
        self._following.end()
