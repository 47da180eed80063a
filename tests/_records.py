"""Synthetic records: deterministic, with numbers of the size that real networks show.

The gradients are made backwards from the last unit, each unit's shortcut and branch part with a given
ratio and cosine, so that the columns of a unit fit together as measured ones do.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gradflow.record import SCHEMA_VERSION, Record
from gradflow.record.schema import QUANTILES


def make_meta(name: str = "preact164", **changes: Any) -> dict[str, Any]:
    """Return complete metadata; `changes` replaces keys."""
    return {
        "schema_version": SCHEMA_VERSION,
        "gradflow_version": "0.1.0",
        "created": "2026-11-23T20:00:00+00:00",
        "command": f"gradflow probe --model {name}",
        "model": {
            "name": name,
            "options": {},
            "class": "gradflow.models.network.Network",
            "parameters": 1_704_154,
        },
        "checkpoint": None,
        "data": {"name": "synthetic", "split": "train", "normalisation": None, "classes": 10},
        "batch_size": 32,
        "loss": {"name": "cross_entropy", "value": 2.4012},
        "bn": "batch",
        "samples_coupled": True,
        "dtype": "float32",
        "device": "cpu",
        "threads": 2,
        "seeds": [0],
        "batches": 1,
        "versions": {"python": "3.11.2", "torch": "2.15.0", "numpy": "2.4.0"},
        "skipped": [],
        "notes": [],
    } | changes


def make_record(
    name: str = "preact164",
    *,
    stages: tuple[int, ...] = (18, 18, 18),
    growth: float = 1.015,
    decades: float | None = None,
    shortcuts: bool = True,
    identity: bool = True,
    seed: int = 0,
    iteration: int = 0,
    batch_index: int = 0,
    checks: bool = True,
    **meta: Any,
) -> Record:
    """Return a record of a network with `stages` units a stage.

    Args:
        name: of the model.
        stages: number of units of each stage.
        growth: gradient norm's growth a unit, towards the input.
        decades: if given, the whole growth over depth instead.
        shortcuts: a plain network without.
        identity: whether the additions are followed by nothing (pre-activation) or by a ReLU.
        seed: of the noise, and the record's.
        iteration: of training.
        batch_index: of the batch.
        checks: whether equations were checked.
        meta: changes of the metadata.
    """
    noise = np.random.default_rng((seed, iteration, batch_index, len(name)))
    count = sum(stages)
    stage_of = np.repeat(np.arange(len(stages)), stages)
    if decades is not None:
        growth = 10 ** (decades / count)
    keys = {"iteration": iteration, "seed": seed, "batch_index": batch_index}
    units: list[dict[str, Any]] = []
    arriving = 0.013
    for unit in reversed(range(count)):
        stage = int(stage_of[unit])
        depth = unit - int(np.argmax(stage_of == stage))
        transition = depth == 0 and stage > 0
        ratio = 0.42 / math.sqrt(1 + 0.3 * depth) * math.exp(noise.normal(0, 0.05))
        cosine = 0.05 + 0.04 * noise.normal()
        row: dict[str, Any] = {
            **keys,
            "unit": unit,
            "name": f"stages.{stage}.{depth}",
            "stage": stage,
            "shortcut": "none" if not shortcuts else ("projection" if depth == 0 else "identity"),
            "post_activation": "identity" if identity else "relu",
            "batch": 32,
            "numel": 32 * 16 * 2**stage * (32 // 2**stage) ** 2,
            "param_norm": 14.0 + noise.normal(0, 0.2),
            "param_grad_norm": arriving * 20 * math.exp(noise.normal(0, 0.1)),
            "nonfinite": 0,
            "grad_out_norm": arriving,
            "grad_other_norm": 0.0,
            "out_norm": 90 * math.sqrt(depth + 2),
            "sum_norm": 90 * math.sqrt(depth + 2),
        }
        gain = growth * math.exp(noise.normal(0, 0.01)) * (1.35 if transition and shortcuts else 1)
        row["grad_in_norm"] = arriving * gain
        row["grad_branch_norm"] = arriving * gain
        if shortcuts:
            row |= _split(arriving, gain, ratio, cosine, depth, noise)
        units.append(row)
        arriving = row["grad_in_norm"]
    frame = pd.DataFrame(units[::-1])
    return Record(
        units=frame,
        parameters=_parameters(frame, keys, noise),
        checks=_checks(frame, keys, noise, identity) if checks and shortcuts else pd.DataFrame(),
        steps=pd.DataFrame([{**keys, "loss": 2.4012 + 0.01 * seed, "param_grad_norm": 1.7}]),
        meta=make_meta(name, **({"seeds": [seed]} | meta)),
    )


def _split(
    arriving: float, gain: float, ratio: float, cosine: float, depth: int, noise: np.random.Generator
) -> dict[str, Any]:
    """Return the columns of a unit's two ways: the branch's part is `ratio` of the shortcut's."""
    whole = arriving * gain
    shortcut = whole / math.sqrt(1 + ratio**2 + 2 * ratio * cosine)
    along = ratio * cosine + noise.normal(0, 0.09, 32) * (1 + ratio)
    across = np.abs(ratio + noise.normal(0, 0.05, 32))
    survival = np.sqrt((1 + along) ** 2 + across**2)
    x_norm = 90 * math.sqrt(depth + 1)
    row = {
        "x_norm": x_norm,
        "shortcut_norm": x_norm,
        "branch_norm": 90 * math.exp(noise.normal(0, 0.03)),
        "forward_cosine": 0.02 + 0.03 * noise.normal(),
        "backward_cosine": cosine,
        "grad_sum_norm": arriving,
        "grad_shortcut_norm": shortcut,
        "grad_branch_norm": ratio * shortcut,
        "zero_samples": 0,
        "span_end": None,
        "additivity_error": 3e-8,
    }
    for statistic, values in (("cancellation", along), ("survival", survival)):
        for suffix, quantile in QUANTILES.items():
            row[f"{statistic}_{suffix}"] = float(np.quantile(values, quantile))
            row[f"span_{statistic}_{suffix}"] = float(np.quantile(values * 1.4, quantile))
    return row


def _parameters(units: pd.DataFrame, keys: dict[str, int], noise: np.random.Generator) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [_parameter(keys, "stem.weight", None, 432, 0.9, noise)]
    for unit in units.itertuples():
        for layer in (1, 2, 3):
            for kind, numel in (("norm", 64), ("conv", 4096)):
                scale = unit.param_grad_norm * (0.1 if kind == "norm" else 1)
                name = f"{unit.name}.branch.{kind}{layer}"
                rows.append(_parameter(keys, f"{name}.weight", int(unit.unit), numel, scale, noise))
                if kind == "norm":
                    rows.append(_parameter(keys, f"{name}.bias", int(unit.unit), numel, scale, noise))
    rows.append(_parameter(keys, "head.weight", None, 2560, 1.1, noise))
    rows.append(_parameter(keys, "head.bias", None, 10, 0.1, noise))
    return pd.DataFrame(rows)


def _parameter(
    keys: dict[str, int], name: str, unit: int | None, numel: int, scale: float, noise: np.random.Generator
) -> dict[str, Any]:
    return {
        **keys,
        "name": name,
        "unit": unit,
        "numel": numel,
        "norm": math.sqrt(numel) / 8,
        "grad_norm": scale * math.exp(noise.normal(0, 0.3)),
        "nonfinite": 0,
    }


def _checks(
    units: pd.DataFrame, keys: dict[str, int], noise: np.random.Generator, identity: bool
) -> pd.DataFrame:
    rows = []
    for equation, form in (("3", "forward"), ("4", "forward"), ("5", "telescoped"), ("5", "vjp")):
        for unit in units.itertuples():
            holds = identity and unit.shortcut == "identity"
            end = unit.unit + 1 if equation == "3" else int(units[units.stage == unit.stage].unit.max()) + 1
            rows.append(
                {
                    **keys,
                    "equation": equation,
                    "form": form,
                    "span_start": unit.unit,
                    "span_end": end,
                    "stage": unit.stage,
                    "dtype": "float32",
                    "error": float(10 ** noise.normal(-7.4 if holds else -0.5, 0.2)),
                    "tolerance": 1.2e-6 * math.sqrt(end - unit.unit),
                    "holds": holds,
                    "expected_to_hold": holds,
                    "detectable": 2e-5,
                    "finding": None if holds else "the shortcut is a projection" if identity else "f is relu",
                }
            )
    return pd.DataFrame(rows)


def with_path_tables(record: Record) -> Record:
    """Return `record` with Jacobians, paths and lesions of its units: the tables that few records have."""
    keys = {name: record.units[name].iloc[0] for name in ("iteration", "seed", "batch_index")}
    count = len(record.units)
    noise = np.random.default_rng(count + int(keys["seed"]))
    ends = [("branch", unit, unit + 1) for unit in range(count)] + [("span", 0, count)]
    names = ("jacobian", "span_start", "span_end")
    which = [{**keys, **dict(zip(names, end, strict=True))} for end in ends]
    jacobians = [
        {
            **one,
            "mean_square": 1.3 + noise.normal(0, 0.1),
            "mean_square_error": 0.02,
            "probes": 8,
            "inputs": 99,
        }
        for one in which
    ]
    values = [
        {**one, "order": order, "singular_value": (6 if one["jacobian"] == "branch" else 80) / order}
        for one in which
        for order in (1, 2, 3)
    ]
    shares = np.array([math.comb(count, length) * 0.6**length for length in range(count + 1)])
    paths = [
        {**keys, "length": length, "units": count, "gradient": 0.01 * 0.6**length, "share": share}
        | {"log_paths": math.log(math.comb(count, length)), "gradient_error": 0.001, "samples": 20}
        for length, share in enumerate(shares / shares.sum())
    ]
    whole = {"lesion": "none", "count": 0, "draw": 0, "kendall_tau": 1.0, "loss": 0.3, "error": 0.07}
    lesions = [whole] + [
        {
            "lesion": "remove",
            "units": str(unit),
            "count": 1,
            "draw": 0,
            "loss": 0.4,
            "error": 0.08 + 0.01 * unit,
        }
        for unit in range(count)
    ]
    for kind, tau in (("remove", None), ("reorder", 0.8)):
        lesions += [
            {"lesion": kind, "units": f"{draw} 1", "count": 2, "draw": draw, "kendall_tau": tau}
            | {"loss": 0.6, "error": 0.2 + 0.01 * draw}
            for draw in range(2)
        ]
    return replace(
        record,
        jacobians=pd.DataFrame(jacobians),
        singular_values=pd.DataFrame(values),
        paths=pd.DataFrame(paths),
        lesions=pd.DataFrame([{**keys, "batch": 32, **row} for row in lesions]),
    )
