"""What the options that all measuring commands share ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click


@dataclass(frozen=True)
class MeasurementRequest:
    """One field an option of `gradflow.cli.options.measurement_options`."""

    spec: str
    checkpoint: Path | None
    shortcut: str | None
    activation: str | None
    width: int | None
    num_classes: int | None
    input_shape: tuple[int, ...] | None
    data: str | None
    data_of: Path | None
    split: Literal["train", "test"]
    download: bool
    data_name: str | None
    batch_size: int
    batches: int
    bn: Literal["batch", "running", "frozen"]
    dtype: str
    device: str
    seed: int | None
    seeds: tuple[int, ...] | None
    units: str | None
    loss: str | None
    out: Path | None
    force: bool
    form: str

    def __post_init__(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UsageError: if they do.
        """
        if self.seed is not None and self.seeds is not None:
            raise click.UsageError("give --seed or --seeds, not both")
        if self.force and self.out is None:
            raise click.UsageError("--force replaces what --out names; give --out too")

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds to measure with; 0 unless told otherwise."""
        if self.seeds is not None:
            return self.seeds
        return (0 if self.seed is None else self.seed,)
