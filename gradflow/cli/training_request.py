"""What the options of `train` ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True)
class TrainingRequest:
    """One field an option of `gradflow train`; the recipe's own are in `overrides`, where given."""

    spec: str
    shortcut: str | None
    activation: str | None
    width: int | None
    num_classes: int | None
    input_shape: tuple[int, ...] | None
    data: str
    download: bool
    data_name: str | None
    recipe: str
    iterations: int | None
    epochs: int | None
    probe_every: int
    check_every: int
    probe_batch_size: int
    test_every: int
    checkpoint_every: int
    device: str
    seed: int
    units: str | None
    resume: bool
    stop_after: float | None
    quiet: bool
    out: Path | None
    overrides: dict[str, Any]

    def __post_init__(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: if they do.
        """
        if self.iterations is not None and self.epochs is not None:
            raise click.UsageError("give --iterations or --epochs, not both")
        if self.resume and self.out is None:
            raise click.UsageError("--resume continues the run in --out; give --out too")
