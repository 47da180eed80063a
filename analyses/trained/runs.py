"""The runs of `gradflow train`: their records, and their weights in a file of their own."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gradflow.errors import TrainingError
from gradflow.record import Record, load_record
from gradflow.training.checkpoints import read_newest


@dataclass(frozen=True, eq=False)
class Run:
    """One training run.

    Attributes:
        record: what was recorded on the way.
        weights: a checkpoint of the newest weights, for `gradflow probe --checkpoint`: a dictionary
            with `model`, `iteration` and `data`, as bytes. What only a resumed run needs is left out.
    """

    record: Record
    weights: bytes

    @property
    def network(self) -> str:
        """Its name in the zoo."""
        return str(self.record.meta["model"]["name"])

    @property
    def training(self) -> dict[str, Any]:
        """What the record says of the training."""
        found: dict[str, Any] = self.record.meta["training"]
        return found


def read_run(folder: Path) -> Run:
    """Return the run in `folder`.

    Raises:
        RecordError: if there is no record, or a damaged one.
        TrainingError: if it is no training run's, or has no checkpoint.
    """
    record = load_record(folder)
    state = read_newest(folder)
    if "training" not in record.meta or state is None:
        raise TrainingError(
            f"'{folder}' is no training run with a checkpoint; give a directory of gradflow train"
        )
    sink = io.BytesIO()
    torch.save({key: state[key] for key in ("model", "iteration", "data")}, sink)
    return Run(record, sink.getvalue())
