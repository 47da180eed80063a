"""Weights & Biases: what a recorder measures, as metrics of a run."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

from PIL import Image

from gradflow.importing import import_dependency
from gradflow.plots import network_from, plot_backward, plot_gradient_norm
from gradflow.plots.export import figure_to_png
from gradflow.record import Record

if TYPE_CHECKING:
    import wandb

PREFIX = "gradient flow"
"""What the names of all metrics begin with."""

_COLUMNS = ("grad_in_norm", "grad_shortcut_norm", "grad_branch_norm", "backward_cosine")
"""What is written of each unit, each a metric `gradient flow/<column>/<unit> <name>`."""

_FIGURES = {"gradient norm by depth": plot_gradient_norm, "shortcut and branch, backward": plot_backward}


class WandbLogger:
    """Writes the measurements of a `gradflow.Recorder` to a run of Weights & Biases.

    Loss, gradient norm, the gradient's ratio over the network and four columns of each unit are metrics
    over `gradient flow/iteration`, so they stand beside whatever else the run logs, at whatever steps. What
    is not finite or not there is left out. Figures are drawn at iteration 0 and when the recorder is left.

        with wandb.init(mode="offline") as run:
            with gradflow.Recorder(model, every=100, loggers=[WandbLogger(run)]) as recorder:
                …

    Args:
        run: what `wandb.init` returned; it is left open.

    Raises:
        InstallationError: if wandb is not installed.
    """

    def __init__(self, run: wandb.Run) -> None:
        self._wandb = import_dependency("wandb", extra="wandb")
        self._run = run
        self._undrawn: tuple[int, Record] | None = None
        run.define_metric(f"{PREFIX}/iteration", hidden=True)
        run.define_metric(f"{PREFIX}/*", step_metric=f"{PREFIX}/iteration")

    def measured(self, iteration: int, record: Record) -> None:
        """Write one measurement."""
        step, norms = record.steps.iloc[-1], record.units["grad_in_norm"]
        numbers = {
            "loss": float(step["loss"]),
            "gradient norm": float(step["param_grad_norm"]),
            "first unit over last": float(norms.iloc[0] / norms.iloc[-1]),
        }
        for unit in record.units.to_dict("records"):
            numbers |= {f"{column}/{unit['unit']:03d} {unit['name']}": unit[column] for column in _COLUMNS}
        self._log(iteration, {name: value for name, value in numbers.items() if math.isfinite(value)})
        self._undrawn = iteration, record
        if iteration == 0:
            self._draw()

    def close(self) -> None:
        """Draw the last measurement; the run stays open."""
        self._draw()

    def _draw(self) -> None:
        if self._undrawn is None:
            return
        (iteration, record), self._undrawn = self._undrawn, None
        network = network_from(record, f"{record.meta['model']['name']}, iteration {iteration:,}")
        pictures = {
            name: Image.open(io.BytesIO(figure_to_png(draw([network])))) for name, draw in _FIGURES.items()
        }
        self._log(iteration, {name: self._wandb.Image(picture) for name, picture in pictures.items()})

    def _log(self, iteration: int, values: dict[str, Any]) -> None:
        named = {f"{PREFIX}/{name}": value for name, value in values.items()}
        self._run.log({f"{PREFIX}/iteration": iteration, **named})
