"""Measuring the Jacobians of untrained networks, one seed at a time, each kept on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from common.images import Images, load_batch

from gradflow.models import build_model, make_spec
from gradflow.record import Record, is_record, load_record
from gradflow.spectrum import singular_values

LARGEST = 3
PROBES = 8
_ZOO_UNITS = r"stage\d\.\d+"


@dataclass(frozen=True)
class Case:
    """One kind of network.

    Attributes:
        key: names it in tables.
        title: names it in figures.
        network: `preact`, `resnet` or `plain`.
        shortcut: the zoo's variant.
    """

    key: str
    title: str
    network: str
    shortcut: str = "identity"

    @property
    def is_identity(self) -> bool:
        """Whether a unit's derivative is 1 + ∂F/∂x, as Tarnowski's is."""
        return self.network == "preact"


def cases(depth: str) -> list[Case]:
    """Return the networks; the branches of the scaled one have factor 1/√(units a stage)."""
    scale = round(make_spec(f"preact{depth}").units_per_stage ** -0.5, 4)
    return [
        Case("preact", "pre-activation", "preact"),
        Case("resnet", "post-activation", "resnet"),
        Case("plain", "plain", "plain"),
        Case("scaled", f"pre-activation, F times {scale:g}", "preact", f"scale:1,{scale:g}"),
        Case("rezero", "pre-activation, F times 0 (ReZero)", "preact", "scale:1,0"),
    ]


def spans(depth: str) -> dict[str, tuple[int, int]]:
    """Return the spans that are measured: the inside of each stage, and the whole network.

    Inside is from the output of a stage's first unit to the input of its last: a pre-activation
    network's x_L is activated where a stage ends.
    """
    count = make_spec(f"preact{depth}").units_per_stage
    inside = {f"stage {stage}": (count * stage + 1, count * (stage + 1) - 1) for stage in range(3)}
    return {**inside, "network": (0, 3 * count)}


def measure(
    case: Case, depth: str, seed: int, images: Images, batch: int, work: Path, *, width: int | None = None
) -> Record:
    """Return the record of one network and seed: from `work` if it is there, else measured now.

    Of the spans the largest singular values and the mean square, of the branches only the latter.
    """
    narrow = "" if width is None else f"-width{width}"
    place = work / f"{case.key}{depth}{narrow}-batch{batch}-seed{seed}"
    if is_record(place):
        return load_record(place)
    inputs, targets, data = load_batch(images, batch, seed)
    options: dict[str, Any] = {} if case.shortcut == "identity" else {"shortcut": case.shortcut}
    if width is not None:
        options["width"] = width
    model = build_model(f"{case.network}{depth}", seed=seed, **options)
    meta = {
        "model": {"name": f"{case.network}{depth}", "options": options},
        "data": data,
        "seeds": [seed],
    }
    units = _ZOO_UNITS if case.network == "plain" else None
    asked = {"bn": "frozen", "units": units, "probes": PROBES, "seed": seed, "meta": meta}
    branches = singular_values(model, inputs, targets, spans=(), largest=0, **asked)
    ends = list(spans(depth).values())
    record = singular_values(model, inputs, targets, branches=(), spans=ends, largest=LARGEST, **asked)
    record.jacobians = pd.concat([branches.jacobians, record.jacobians], ignore_index=True)
    record.save(place)
    return record
