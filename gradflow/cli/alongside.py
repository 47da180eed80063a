"""What is measured while a network trains: the one place where training and probing meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gradflow.equations import check
from gradflow.errors import GradflowError
from gradflow.findings import locate_nonfinite
from gradflow.probing import probe
from gradflow.record import Record


@dataclass(frozen=True, eq=False)
class Measuring:
    """Probes a fixed batch every so many iterations, and checks the equations on it.

    Attributes:
        images: the batch, normalised.
        targets: its classes.
        probe_every: iterations between probes.
        check_every: iterations between checks; 0 for none.
        last: the run's last iteration, which is measured in any case.
        units: names the units, as for `gradflow.probe`.
        meta: what the record is to say that the library cannot know.
    """

    images: Tensor
    targets: Tensor
    probe_every: int
    check_every: int
    last: int
    units: str | None
    meta: dict[str, Any]

    def __call__(self, iteration: int, model: nn.Module) -> Record | None:
        """Measure if it is time, in batch mode, as in training; the network is left as it was."""
        ends = iteration in {0, self.last}
        checks = self.check_every > 0 and (ends or iteration % self.check_every == 0)
        if not (checks or ends or iteration % self.probe_every == 0):
            return None
        weights = {"name": "in training", "sha256": None, "iteration": iteration}
        measure = check if checks else probe
        return measure(
            model, self.images, self.targets, units=self.units, meta=self.meta | {"checkpoint": weights}
        )


def locate_divergence(model: nn.Module, images: Tensor, targets: Tensor, *, units: str | None = None) -> str:
    """Say in words where on the way through the network numbers first stop being finite."""
    try:
        record = probe(model, images, targets, units=units)
    except GradflowError as error:
        return f"the units could not be looked at ({error})"
    return locate_nonfinite(record)
