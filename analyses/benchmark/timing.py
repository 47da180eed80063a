"""Things that are timed in turn, and ratios of them with intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap


@dataclass(frozen=True)
class Ratio:
    """A median of ratios of neighbouring timings, with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


def in_turn(things: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time each of `things` once a round, the order turned from round to round; return seconds by name."""
    times: dict[str, list[float]] = {name: [] for name in things}
    for run in things.values():
        run()  # the first fills caches and libraries' tables
    names = list(things)
    for index in range(rounds):
        turn = index % len(names)
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            things[name]()
            times[name].append(time.perf_counter() - began)
    return times


def ratio_over_processes(ratios: Sequence[Sequence[float]]) -> Ratio:
    """Return the median of ratios that several processes have found.

    How a process's memory lies makes all of its passes faster or slower, so pairs of one process are not
    independent: processes are drawn, and pairs of each.

    Args:
        ratios: those of each process.
    """
    rng = np.random.default_rng(0)
    found = [np.array(one) for one in ratios]
    drawn = [
        np.median(np.concatenate([rng.choice(found[index], len(found[index])) for index in indices]))
        for indices in rng.integers(len(found), size=(9999, len(found)))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Ratio(float(np.median(np.concatenate(found))), float(low), float(high))


def ratio(numerator: list[float], denominator: list[float]) -> Ratio:
    """Return the ratio of two lists of timings of the same rounds."""
    ratios = np.array(numerator) / np.array(denominator)
    found = bootstrap((ratios,), np.median, n_resamples=9999, rng=np.random.default_rng(0))
    low, high = found.confidence_interval
    return Ratio(float(np.median(ratios)), float(low), float(high))
