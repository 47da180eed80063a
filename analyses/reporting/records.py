"""Records of long training runs, from a few probes: measured rows, run over iterations.

A network is probed under ten seeds. Probe k of the training run is a probe of seed k mod 10, its norms and
gradients times one smooth factor that turns over the run, and each number times noise of two per cent:
no two rows are alike, as in a measured run, and tables compress no better than measured ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from gradflow.record import Record

SEEDS = 10
EVERY = 100
"""Iterations between two probes."""

CHECKED = 10
"""Probes of a run at which the equations are checked too."""


def training_run(probes: Record, count: int, seed: int = 0) -> Record:
    """Return the record of a training run with `count` probes.

    Args:
        probes: of one network under one seed or several, with or without checks.
        count: how many probes the run has; it has `EVERY` steps from each to the next.
        seed: of the noise.
    """
    noise = np.random.default_rng(seed)
    tables = {
        name: _over_iterations(getattr(probes, name), np.arange(count) * EVERY, noise)
        for name in ("units", "parameters")
    }
    checked = np.linspace(0, (count - 1) * EVERY, CHECKED).astype(int)
    meta = probes.meta | {
        "seeds": [0],
        "checkpoint": {"name": "newest.pt", "sha256": "0" * 64, "iteration": count * EVERY},
    }
    return Record(
        **tables,
        checks=_over_iterations(probes.checks, checked, None),
        steps=_steps(count * EVERY, noise),
        meta=meta,
    )


def _over_iterations(
    frame: pd.DataFrame, iterations: np.ndarray, noise: np.random.Generator | None
) -> pd.DataFrame:
    if frame.empty:
        return frame
    by_seed = [part.reset_index(drop=True) for _, part in frame.groupby("seed", sort=True)]
    parts = [by_seed[number % len(by_seed)] for number in range(len(iterations))]
    lengths = [len(part) for part in parts]
    whole = pd.concat(parts, ignore_index=True)
    whole["iteration"] = pd.array(np.repeat(iterations, lengths), dtype="Int64")
    whole["seed"] = pd.array(np.zeros(len(whole), dtype=int), dtype="Int64")
    if noise is None:
        return whole
    turned = np.repeat(np.exp(0.5 * np.sin(np.arange(len(iterations)) / 40)), lengths)
    for name in whole:
        if whole[name].dtype == np.float64:
            norm = turned if name.endswith("norm") else 1.0
            whole[name] *= norm * (1 + 0.02 * noise.standard_normal(len(whole)))
    return whole


def _steps(length: int, noise: np.random.Generator) -> pd.DataFrame:
    """Return curves in the shape of a training run's, whose learning rate drops twice."""
    iteration = np.arange(1, length + 1)
    part = iteration / length
    jumps = np.exp(0.1 * noise.standard_normal(length))
    tested = iteration % (10 * EVERY) == 0
    return pd.DataFrame(
        {
            "iteration": iteration,
            "seed": 0,
            "batch_index": 0,
            "loss": 2.3 * np.exp(-4 * part) * jumps,
            "error": np.clip(0.9 * np.exp(-3 * part) * jumps, 0, 1),
            "param_grad_norm": jumps,
            "learning_rate": np.select([part <= 0.5, part <= 0.75], [0.1, 0.01], 0.001),
            "test_loss": np.where(tested, 2.3 * np.exp(-3 * part), np.nan),
            "test_error": np.where(tested, 0.9 * np.exp(-2.5 * part), np.nan),
        }
    )


def save_runs(probes: Record, folder: Path, runs: int, count: int) -> int:
    """Save `runs` training runs of `count` probes each into `folder`; return how many rows of units."""
    rows = 0
    for number in range(runs):
        record = training_run(probes, count, seed=number)
        record.save(folder / f"{record.meta['model']['name']}-{number + 1}")
        rows += len(record.units)
    return rows
