"""The training runs: networks of several depths, each from several seeds, on one recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gradflow.record import Record, load_record
from gradflow.statistics import with_shares


@dataclass(frozen=True)
class Net:
    """One network from one seed.

    Attributes:
        model: its name in the zoo.
        layers: its depth.
        seed: of weights, data order and probe batch.
    """

    model: str
    layers: int
    seed: int

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.model}-seed{self.seed}"

    @property
    def options(self) -> tuple[str, ...]:
        """Of `gradflow train`, which tell it from the others."""
        return "--model", self.model, "--seed", str(self.seed)


def nets(depths: Sequence[int], seeds: int) -> list[Net]:
    """Return all networks, seed by seed, so that what is there early is there at every depth."""
    return [Net(f"preact{depth}", depth, seed) for seed in range(seeds) for depth in depths]


def read_records(folder: Path, wanted: Sequence[Net]) -> dict[Net, Record]:
    """Return the records of the runs in `folder`.

    Raises:
        RecordError: if one is missing or damaged.
    """
    return {net: load_record(folder / net.name) for net in wanted}


def ratios(records: dict[Net, Record]) -> pd.DataFrame:
    """Return ‖g_l‖ / ‖g_{l+1}‖ of each network at each time, as medians over its units.

    Of a stage's last unit g_{l+1} is taken at its addition, in front of the next stage's activation.

    Returns:
        `layers`, `seed`, `iteration`, `identity` and `transition`: the median over units with an identity
        shortcut, and over those that change the shape.
    """
    rows = []
    for net, record in records.items():
        for iteration, units in record.units.groupby("iteration"):
            ratio = with_shares(units)["backward_gain"]
            identity = units["shortcut"] == "identity"
            rows.append(
                {
                    "layers": net.layers,
                    "seed": net.seed,
                    "iteration": int(str(iteration)),
                    "identity": float(ratio[identity].median()),
                    "transition": float(ratio[~identity].median()),
                }
            )
    return pd.DataFrame(rows)
