"""What a record's repetitions are: several networks, or several batches of one.

Seeds build other networks, so what is found over them is about the kind of network. Batches of one
network, drawn by `--batches` or by the seeds of a checkpoint's probe, say how far a batch matters, and
nothing about other networks: more of them decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gradflow.record import Record
from gradflow.statistics import find_replicate, last_iteration

ENOUGH = 10
"""Repetitions from which intervals are given, and networks from which anything is decided."""


@dataclass(frozen=True)
class Repetitions:
    """What one record repeats.

    Attributes:
        of: `networks` if each repetition is a network of its own, `batches` if all are of one network.
        count: how many; 1 of something that was measured once.
        network: what the one network is called, if it is one: its checkpoint, or its seed.
    """

    of: Literal["networks", "batches"]
    count: int
    network: str = ""

    @property
    def decide(self) -> bool:
        """Whether they are enough networks for a verdict about networks."""
        return self.of == "networks" and self.count >= ENOUGH

    def __str__(self) -> str:
        if self.of == "networks":
            return f"{self.count} seeds"
        batches = f"{self.count} batches" if self.count > 1 else "one batch"
        return f"{batches} of one network" + (f" ({self.network})" if self.network else "")


def find_repetitions(record: Record) -> Repetitions:
    """Return what the last iteration of `record` repeats.

    Seeds are networks unless all were measured with the weights of one checkpoint: then they chose
    batches.
    """
    units, checkpoint = last_iteration(record.units), record.meta.get("checkpoint")
    column = find_replicate(units)
    count = 1 if column is None else units[column].nunique()
    # Seeds that were trained have a file of weights each, which one record does not name.
    file = None if checkpoint is None or checkpoint.get("sha256") is None else checkpoint
    if column == "seed" and file is None:
        return Repetitions("networks", count)
    if file is not None:
        iteration = file.get("iteration")
        words = [str(file["name"])] if file.get("name") else []
        words += [] if iteration is None else [f"iteration {iteration:,}"]
        return Repetitions("batches", count, ", ".join(words))
    seeds = units["seed"].dropna().unique()
    return Repetitions("batches", count, f"seed {seeds[0]}" if len(seeds) else "")
