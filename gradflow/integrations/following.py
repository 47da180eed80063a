"""A recorder that follows somebody else's loop, which says when it begins, steps and ends."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gradflow.errors import ProbeError
from gradflow.record import Record
from gradflow.recording import Recorder


class FollowingRecorder:
    """Opens, steps and closes a `gradflow.Recorder` as a trainer's callbacks are called.

    Args:
        options: what the recorder is made with, but for the model, the iteration and the scaler.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._recorder: Recorder | None = None
        self._reached = 0

    @property
    def record(self) -> Record:
        """What was measured so far, or in the run that ended.

        Raises:
            ProbeError: if nothing was.
        """
        if self._recorder is None:
            raise ProbeError("nothing has been measured yet: training has not begun")
        return self._recorder.record

    def begin(self, model: nn.Module, iteration: int, scaler: torch.amp.GradScaler | None = None) -> None:
        """Begin to watch `model`, after `iteration` optimiser steps; what was cut off is closed first."""
        self.end()
        self._reached = iteration
        self._recorder = Recorder(model, iteration=iteration, scaler=scaler, **self._options)
        self._recorder.__enter__()

    def reached(self, iteration: int, skipped: str | None = None) -> None:
        """Say how many optimiser steps are done; a batch whose gradient only accumulates is none.

        Args:
            iteration: how many.
            skipped: as for `gradflow.Recorder.step`.
        """
        if self._recorder is None or iteration == self._reached:
            return
        self._reached = iteration
        self._recorder.step(skipped=skipped)

    def end(self, error: BaseException | None = None) -> None:
        """Stop watching, and write what is to be written; a second time there is nothing to do.

        Args:
            error: why training ended early.
        """
        if self._recorder is not None and self._recorder.is_inside:
            self._recorder.__exit__(None if error is None else type(error), error, None)
