"""A record beside theory: what can be held against it without knowing more than the record says.

Which predictions apply is told from the model's name and options, its parameters' names, and how it was
measured. A network that is not the zoo's is only held against what needs no more than identity units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gradflow.record import Meta, Record
from gradflow.repetitions import find_repetitions
from gradflow.theory.laws import Setting
from gradflow.theory.preactivation import UNIT_KINDS, UnitKind
from gradflow.theory.published import LAWS
from gradflow.theory.states import slope, stage_states
from gradflow.theory.verdicts import judge

_KINDS = {2: "basic", 3: "bottleneck"}
_LEAST_STATES = 3
"""Of a stage, from which a slope is fitted."""


def setting_of(meta: Meta, units: pd.DataFrame) -> dict[str, Any]:
    """Return what a record says of the conditions that predictions make.

    Args:
        meta: the record's metadata.
        units: its units.
    """
    options = meta["model"].get("options") or {}
    named = re.fullmatch(r"(preact|resnet|plain)\d+(-\w+)?", str(meta["model"]["name"]))
    architecture = named[1] if named is not None else "other"
    if architecture == "resnet" and options.get("activation") == "full-preact":
        architecture = "preact"
    identities = bool((units["shortcut"] == "identity").any())
    return {
        "architecture": architecture,
        "shortcut": str(options.get("shortcut") or ("identity" if identities else "other")),
        "trained": meta["checkpoint"] is not None or bool((units["iteration"].fillna(0) > 0).any()),
        "bn": meta["bn"],
    }


def unit_kind(record: Record) -> str | None:
    """Return `basic` or `bottleneck` for the zoo's networks, by their parameters' names; else None."""
    names = record.parameters["name"].drop_duplicates()
    first = names.str.fullmatch(r"stage1\.0\.branch\.conv\d+\.weight").sum()
    return _KINDS.get(int(first))


def compare(record: Record) -> pd.DataFrame:
    """Hold a record against every prediction that is about it.

    Args:
        record: of a probe; of several iterations the last one's units should be given.

    Returns:
        a row a law and stage (null: the whole network) with its verdict, `theory.judge`; no row where
        nothing applies.
    """
    setting = setting_of(record.meta, record.units)
    kind = unit_kind(record)
    networks = find_repetitions(record).of == "networks"
    rows = [
        # Of one network, seeds are batches, and their mean is one measurement.
        {"seed": seed if networks else 0, "batch_index": batch, "iteration": 0, **row}
        for (seed, batch), units in record.units.groupby(["seed", "batch_index"], dropna=False, sort=False)
        for row in _pass_rows(units, setting, kind)
    ]
    frame = pd.DataFrame(rows)
    if frame.empty:
        return judge(frame, LAWS, by=("stage",))
    finite = frame[np.isfinite(frame["value"])].astype({"stage": "Int64"})
    return judge(finite, LAWS, by=("stage",))


def predicted_branch_share(record: Record, units: pd.DataFrame) -> pd.Series[float]:
    """Return De & Smith's share for each row of `units`; null where it is not predicted.

    Args:
        record: what was measured.
        units: one row a unit with `stage`, in order of execution.
    """
    kind = unit_kind(record)
    shares = pd.Series(np.nan, index=units.index)
    if kind is None or LAWS["branch_share"].outside(setting_of(record.meta, record.units)):
        return shares
    for stage, part in units.groupby("stage"):
        later = part.index[1:]  # a stage's first unit starts it
        shares[later] = UNIT_KINDS[kind].branch_share(np.arange(1.0, len(part)), int(str(stage)))
    return shares


def _pass_rows(units: pd.DataFrame, setting: Setting, kind: str | None) -> Iterator[dict[str, Any]]:
    architecture = setting["architecture"]
    states = stage_states(units[units["stage"].notna()], before_activation=architecture == "preact")
    if kind is not None and architecture in {"preact", "plain"}:
        fits = _preact if architecture == "preact" else _plain
        for stage, part in states.groupby("stage"):
            if len(part) >= _LEAST_STATES:
                padded = {**setting, "padded_channels": kind == "basic" and int(str(stage)) > 0}
                for law, value, predicted in fits(UNIT_KINDS[kind], part):
                    yield _row(law, value, predicted, padded, stage)
    within = (states["shortcut"] == "identity") & (states["position"] > 1)
    if within.any():
        yield _row("identity_gain", float(states.loc[within, "gain"].median()), 1.0, setting, pd.NA)


def _preact(kind: UnitKind, part: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    stage = int(part["stage"].iloc[0])
    position, energy, log_gradient, share = (
        part[name].to_numpy(np.float64) for name in ("position", "energy", "log_gradient", "share")
    )
    relative = share[1:] / kind.branch_share(position[1:] - 1, stage)
    yield "branch_share", float(np.exp(np.log(relative).mean())), 1.0
    yield "energy_growth", slope(position, energy), kind.gain
    yield "exponent_by_energy", -slope(np.log(energy), log_gradient), kind.exponent
    yield "earlier_larger", float((log_gradient[0] - log_gradient[-1]) / 2 / np.log(10)), 0.0


def _plain(kind: UnitKind, part: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    position, log_gradient = (part[name].to_numpy(np.float64) for name in ("position", "log_gradient"))
    yield "plain_growth", float(np.exp(-slope(position, log_gradient) / 2)), kind.plain_growth


def _row(law: str, value: float, predicted: float, setting: Setting, stage: Any) -> dict[str, Any]:
    outside = LAWS[law].outside(setting)
    return {"law": law, "stage": stage, "value": value, "predicted": predicted, "outside": outside}
