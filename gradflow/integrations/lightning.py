"""Lightning: a recorder as a callback of its `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gradflow.errors import ProbeError
from gradflow.importing import import_dependency
from gradflow.integrations.following import FollowingRecorder
from gradflow.record import Record
from gradflow.recording import Logger
from gradflow.units import UnitSelection

import_dependency("lightning", extra="lightning")

from lightning.pytorch import Callback, LightningModule, Trainer  # noqa: E402 - refused above in words


class RecorderCallback(Callback):
    """Measures every `every`-th optimiser step of `Trainer.fit`, as `gradflow.Recorder` does.

        trainer = lightning.Trainer(callbacks=[RecorderCallback(every=100, out="runs/mine")])

    The record's `iteration` is the step at which Lightning's own loggers write, also in a run that goes on
    from a checkpoint: `trainer.global_step`; under manual optimisation the batches before, each counted once
    however many optimisers step in it. With gradient accumulation an optimiser step takes several batches, of
    which the first is measured. Where `training_step` returns None, and under manual optimisation where no
    backward pass goes through the network, the next step is measured instead, and a note says so.
    Under 16-bit mixed precision the scale is divided out.

    Args:
        every: as for `gradflow.Recorder`, in such iterations.
        module: name of the submodule that is the network, such as "model"; None takes the whole
            `LightningModule`, whose `training_step` must then call ``self(…)``.
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
        module: str | None = None,
        out: str | Path | None = None,
        force: bool = False,
        units: UnitSelection | None = None,
        loggers: Sequence[Logger] = (),
        meta: Mapping[str, Any] | None = None,
        whole_job: bool = True,
        timeout: float = 300,
    ) -> None:
        super().__init__()
        self._module = module
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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch the network."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._following.begin(self._network(pl_module), _iteration(trainer, pl_module), scaler)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count an optimiser step, if the batch ended one."""
        skipped = None
        if not pl_module.automatic_optimization:
            skipped = "no backward pass went through the network in that batch"
        elif not outputs:
            skipped = "training_step returned None"
        self._following.reached(_iteration(trainer, pl_module), skipped)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching, and save."""
        self._following.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching, and save what was measured."""
        self._following.end(exception)

    def _network(self, pl_module: LightningModule) -> nn.Module:
        """Return the network that is watched.

        Raises:
            ProbeError: if there is no submodule of that name.
        """
        network: nn.Module = pl_module
        if self._module is None:
            return network
        found: nn.Module | None = dict(pl_module.named_modules()).get(self._module)
        if found is None:
            children = ", ".join(name for name, _ in pl_module.named_children())
            raise ProbeError(
                f"{type(pl_module).__name__} has no module '{self._module}'; it has {children or 'none'}"
            )
        return found


def _iteration(trainer: Trainer, pl_module: LightningModule) -> int:
    """Return how many steps are done."""
    if pl_module.automatic_optimization:
        return trainer.global_step
    return trainer.fit_loop.total_batch_idx + 1  # global_step counts each optimiser's
