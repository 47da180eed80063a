"""The two passes that are compared, timed in turn in one process or run alone in a fresh one."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import bootstrap

import gradflow
from gradflow.probing import probe  # imported here so that no measurement pays for it

Pass = Callable[[], object]
Measure = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], object]


@dataclass(frozen=True)
class Comparison:
    """Times of interleaved pairs, in seconds, and what follows from them.

    Attributes:
        plain: of the plain pass, one a pair.
        probed: of the probe.
        ratio: median of the pairs' ratios.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
    """

    plain: list[float]
    probed: list[float]
    ratio: float
    low: float
    high: float


def passes(
    network: str, batch: int, dtype: torch.dtype = torch.float32, measure: Measure = probe
) -> tuple[Pass, Pass]:
    """Return the plain forward and backward pass of `network`, and the probe of the same batch.

    Args:
        network: a name of the zoo.
        batch: samples in the batch.
        dtype: of network and batch.
        measure: what is compared with the plain pass.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator, dtype=dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 10, (batch,), generator=generator)
    model = gradflow.build_model(network, seed=0).to(dtype=dtype, memory_format=torch.channels_last)
    parameters = list(model.parameters())

    def plain() -> object:
        loss = F.cross_entropy(model(images), targets)
        return torch.autograd.grad(loss, parameters)

    def probed() -> object:
        return measure(model, images, targets)

    return plain, probed


def compare(network: str, batch: int, pairs: int) -> Comparison:
    """Time a plain pass and a probe in turn, `pairs` times."""
    return interleave(*passes(network, batch), pairs)


def interleave(plain: Pass, probed: Pass, pairs: int) -> Comparison:
    """Time both passes in turn, `pairs` times, which of them goes first changing from pair to pair."""
    plain(), probed()  # the first of each also fills caches and libraries' tables
    times: dict[str, list[float]] = {"plain": [], "probed": []}
    for pair in range(pairs):
        both = [("plain", plain), ("probed", probed)]
        for name, run in both if pair % 2 == 0 else reversed(both):
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    ratios = np.array(times["probed"]) / np.array(times["plain"])
    interval = bootstrap((ratios,), np.median, n_resamples=9999, rng=np.random.default_rng(0))
    low, high = interval.confidence_interval
    return Comparison(times["plain"], times["probed"], float(np.median(ratios)), float(low), float(high))


def peak_memory(which: str, network: str, batch: int) -> float:
    """Return the peak resident memory of one pass in this process, less what was there before, in MiB.

    A process's peak only ever grows, so this is called once, in a fresh process.
    """
    plain, probed = passes(network, batch)
    return peak_of(plain if which == "plain" else probed)


def peak_of(run: Pass) -> float:
    """Return by how much `run` lets this process's peak resident memory grow, in MiB."""
    before = _peak()
    run()
    return _peak() - before


def _peak() -> float:
    unit = 1024 if sys.platform.startswith("linux") else 1024**2  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
