"""`path_gradients`: how much of the gradient comes through paths of each length.

A network of n units has 2ⁿ paths: each unit is passed through its branch or its shortcut. The
length of a path is the number of branches on it, and C(n, k) paths have length k (Veit et al.
2016, section 4).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from gradflow.errors import ProbeError
from gradflow.probing import BatchNormMode, Loss, probe
from gradflow.probing.blocking import paths_through
from gradflow.record import Record
from gradflow.units import Inputs, UnitSelection


def path_gradients(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    samples: int = 20,
    seed: int = 0,
    meta: Mapping[str, Any] | None = None,
) -> Record:
    """Measure `model` as `probe` does, and the gradient at x_0 by the length of its path.

    One full forward pass. Then, for each length k and each of `samples` random choices of k
    units, a backward pass that takes F in these and the shortcut in all others; ‖∂E/∂x_0‖ is
    averaged over the choices. Where there are no more than `samples` paths of a length, each is
    taken. The share of a length is C(n, k) times that average, over its sum over all lengths: a
    sum of norms, in which paths that cancel each other count in full.

    Args:
        model: any network with residual units; it is not edited.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.
        samples: paths of each length; at least 2.
        seed: of their choice.
        meta: as for `probe`.

    Returns:
        the record of `probe`, with its table `paths` filled.

    Raises:
        ProbeError: if a unit has no shortcut, or there are fewer than 2 samples.
    """
    if samples < 2:
        raise ProbeError(f"{samples} path of each length has no standard error; take at least 2")
    units = units if units is None or isinstance(units, str) else tuple(units)
    record = probe(model, inputs, targets, loss=loss, bn=bn, units=units, meta=meta)
    rows: list[dict[str, Any]] = []
    with paths_through(model, inputs, targets, loss=loss, bn=bn, units=units) as paths:
        count = len(paths.units)
        for length in range(count + 1):
            norms = np.array(
                [
                    float(paths.gradient(through).double().norm())
                    for through in choose_paths(count, length, samples, seed)
                ]
            )
            complete = len(norms) == math.comb(count, length)
            rows.append(
                {
                    "length": length,
                    "units": count,
                    "samples": len(norms),
                    "log_paths": log_paths(count, length),
                    "gradient": float(norms.mean()),
                    "gradient_error": 0.0 if complete else float(norms.std(ddof=1) / math.sqrt(len(norms))),
                }
            )
    frame = pd.DataFrame(rows).assign(**record.keys)
    return replace(record, paths=frame.assign(share=shares(frame)))


def log_paths(units: int, length: int) -> float:
    """Return ln C(n, k), which for 1000 units is too large for a float itself."""
    return math.lgamma(units + 1) - math.lgamma(length + 1) - math.lgamma(units - length + 1)


def choose_paths(units: int, length: int, samples: int, seed: int) -> Iterator[frozenset[int]]:
    """Yield `samples` different sets of `length` of `units` units, or every set if there are no more.

    Args:
        units: n.
        length: k.
        samples: how many sets.
        seed: of the choice; for each length another one.
    """
    if math.comb(units, length) <= samples:
        yield from map(frozenset, itertools.combinations(range(units), length))
        return
    random = np.random.default_rng((seed, length))
    chosen: set[frozenset[int]] = set()
    while len(chosen) < samples:
        through = frozenset(random.choice(units, length, replace=False).tolist())
        if through not in chosen:
            chosen.add(through)
            yield through


def shares(paths: pd.DataFrame) -> np.ndarray:
    """Return C(n, k) · gradient over its sum, of the rows of one pass; NaN if a gradient is not finite."""
    gradient = paths["gradient"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(gradient) + paths["log_paths"].to_numpy(float)
        sizes = np.exp(logs - logs.max())
        return np.asarray(sizes / sizes.sum())
