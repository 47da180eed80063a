"""TensorBoard: a training run's numbers as scalars, and its gradient flow as figures."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradflow.plots import network_from, plot_backward, plot_gradient_norm
from gradflow.record import Record
from gradflow.record.files import explained

_SCALARS = {
    "train/loss": "loss",
    "train/error": "error",
    "train/gradient norm": "param_grad_norm",
    "train/learning rate": "learning_rate",
}
_FIGURES = {"gradient norm by depth": plot_gradient_norm, "shortcut and branch, backward": plot_backward}


class TensorBoard:
    """Writes a run's events as it goes; for `gradflow.training.Watcher`.

    Args:
        folder: where the event files go.
        iteration: steps done; what an interrupted run wrote after them is purged.

    Raises:
        RecordError: from any method, if the operating system refuses to write.
    """

    def __init__(self, folder: Path, iteration: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        purge = iteration + 1 if folder.exists() else None
        self._folder = folder
        self._undrawn: tuple[int, Record] | None = None
        self._excepthook = threading.excepthook
        threading.excepthook = self._end_of_thread
        with explained(folder):
            self._writer = SummaryWriter(str(folder), purge_step=purge)

    def _end_of_thread(self, args: threading.ExceptHookArgs) -> None:
        """Say nothing of a writer's thread that could not write: the writer's next call raises its error."""
        writers = type(args.thread).__module__.startswith("tensorboard.")
        if not (writers and issubclass(args.exc_type, OSError)):
            self._excepthook(args)

    def started(self, iteration: int, length: int) -> None:
        """Nothing is written of the beginning."""

    def stepped(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write loss, error, gradient norm and learning rate of each step, those that it has."""
        with explained(self._folder):
            for row in rows:
                for tag, column in _SCALARS.items():
                    if column in row:
                        self._writer.add_scalar(tag, row[column], row["iteration"])

    def tested(self, iteration: int, loss: float, error: float) -> None:
        """Write the test data's loss and error, and draw the gradient flow as last measured."""
        with explained(self._folder):
            self._writer.add_scalar("test/loss", loss, iteration)
            self._writer.add_scalar("test/error", error, iteration)
        self._draw()

    def measured(self, iteration: int, record: Record) -> None:
        """Write the gradient's ratio over the network; draw it at the beginning, and else with the tests.

        Drawing takes several times as long as a probe, which may come often.
        """
        norms = record.units["grad_in_norm"]
        with explained(self._folder):
            ratio = norms.iloc[0] / norms.iloc[-1]
            self._writer.add_scalar("gradient flow/first unit over last", ratio, iteration)
        self._undrawn = iteration, record
        if iteration == 0:
            self._draw()

    def _draw(self) -> None:
        if self._undrawn is None:
            return
        (iteration, record), self._undrawn = self._undrawn, None
        network = network_from(record, f"{record.meta['model']['name']}, iteration {iteration:,}")
        with explained(self._folder):
            for tag, draw in _FIGURES.items():
                self._writer.add_figure(tag, draw([network]), iteration)

    def saved(self, iteration: int) -> None:
        """Write out what is held."""
        with explained(self._folder):
            self._writer.flush()

    def ended(self) -> None:
        """Write out what is held, and close the file."""
        try:
            with explained(self._folder):
                self._writer.close()
        finally:
            threading.excepthook = self._excepthook

    def close(self) -> None:
        """Draw the gradient flow as last measured, and write out what is held."""
        self._draw()
        self.ended()


class TensorBoardLogger:
    """Writes the measurements of a `gradflow.Recorder`.

    Loss, gradient norm and the gradient's ratio over the network are scalars, written each time. Figures
    are drawn at iteration 0 and when the recorder is left: drawing takes longer than measuring.

    Args:
        folder: where the event files go.
        iteration: optimiser steps done, in a run that is resumed: what was written from there on is purged.

    Raises:
        RecordError: from any method, if the operating system refuses to write.
    """

    def __init__(self, folder: str | Path, *, iteration: int = 0) -> None:
        # A recorder measures the weights *after* so many steps once more, so that one is purged too.
        self._board = TensorBoard(Path(folder), iteration - 1)

    def measured(self, iteration: int, record: Record) -> None:
        """Write one measurement."""
        step = record.steps.iloc[-1]
        self._board.stepped(
            [{"iteration": iteration, "loss": step["loss"], "param_grad_norm": step["param_grad_norm"]}]
        )
        self._board.measured(iteration, record)
        self._board.saved(iteration)

    def close(self) -> None:
        """Draw the last measurement, and write out what is held."""
        self._board.close()
