"""The two passes that are compared, timed in turn in one process or run alone in a fresh one."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

import gradflow
from benchmark.timing import in_turn, ratio
from gradflow.probing import probe  # imported here so that no measurement pays for it

Pass = Callable[[], object]
Measure = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor], object]


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


def compare(
    what: str,
    network: str,
    batch: int,
    pairs: int,
    dtype: torch.dtype = torch.float32,
    measure: Measure = probe,
) -> dict[str, Any]:
    """Time a plain pass and `measure` in turn, `pairs` times.

    Args:
        what: names `measure` in the result.
        network: as for `passes`.
        batch: as for `passes`.
        pairs: how many.
        dtype: as for `passes`.
        measure: as for `passes`.

    Returns:
        medians and all times in seconds, and the median ratio with its 95 % interval.
    """
    plain, measured = passes(network, batch, dtype, measure)
    times = in_turn({"plain": plain, what: measured}, pairs)
    found = ratio(times[what], times["plain"])
    print(f"{network}, batch {batch}: {found.median:.3f} of a plain pass", file=sys.stderr)
    return {
        "network": network,
        "batch": batch,
        "pairs": pairs,
        **{f"{name}_s": statistics.median(values) for name, values in times.items()},
        "ratio": found.median,
        "interval_95": [found.low, found.high],
        **{f"{name}_all_s": [round(value, 4) for value in values] for name, values in times.items()},
    }


def compare_depths(
    what: str,
    networks: tuple[str, str],
    batch: int,
    pairs: int,
    dtype: torch.dtype = torch.float32,
    measure: Measure = probe,
) -> dict[str, Any]:
    """Is the cost of a unit the same in a shallow and a deep network? Both at the same batch size."""
    shallow, deep = (compare(what, network, batch, pairs, dtype, measure) for network in networks)
    return {
        "shallow": shallow,
        "deep": deep,
        "ratio_of_ratios": (deep[f"{what}_s"] / shallow[f"{what}_s"])
        / (deep["plain_s"] / shallow["plain_s"]),
    }


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


def command_peak(words: Sequence[str]) -> float:
    """Return the peak resident memory of `gradflow` with these words as a user runs it, in MiB.

    It is the largest of all commands that this process has run. The record goes nowhere.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gradflow", *words, "--out", f"{folder}/run"]
        subprocess.run(command, check=True, capture_output=True)
    return _peak(resource.RUSAGE_CHILDREN)


def _peak(whose: int = resource.RUSAGE_SELF) -> float:
    unit = 1024 if sys.platform.startswith("linux") else 1024**2  # macOS counts bytes, Linux KiB
    return resource.getrusage(whose).ru_maxrss / unit
