"""What a training step costs beside a hand-written loop and beside what public repositories run.

Everything is timed in turn in one process, and said as ratios with bootstrap intervals. Run it on a
machine that does nothing else:

    python analyses/training_benchmark.py
"""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

from benchmark.page import limits_table, made_by
from benchmark.timing import Ratio, in_turn, ratio
from provenance import describe_machine, to_json, write_output
from training_cost.loops import (
    batches,
    forever,
    gradflow_step,
    hand_written_step,
    images,
    public_loader,
    public_step,
)

import gradflow
from gradflow.probing import probe

NETWORK, BATCH = "preact164", 32
SMALL, SMALL_BATCH = "preact20", 128
CADENCE = 100


@click.command()
@click.option(
    "--rounds", type=click.IntRange(min=3), default=15, show_default=True, help="Of each comparison."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/training_benchmark"),
    show_default=True,
)
def main(rounds: int, out: Path) -> None:
    """Measure what a training step costs, and write the numbers and a page to a folder."""
    found: dict[str, Any] = {"step": _step(rounds), "pipeline": _pipeline(rounds)}
    found["provenance"] = describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]])
    page = _page(found)
    write_output(out, {"numbers.json": to_json(found), "README.md": page.encode()})
    print(page)


def _step(rounds: int) -> dict[str, Any]:
    """Three loops and a probe on the deep network."""
    data = batches(BATCH, images())
    inputs, targets = data.at(1)
    model = gradflow.build_model(NETWORK, seed=0).to(memory_format=torch.channels_last)
    times = in_turn(
        {
            "gradflow": gradflow_step(NETWORK, BATCH),
            "hand-written": hand_written_step(NETWORK, BATCH),
            "public": public_step(NETWORK, BATCH),
            "probe": lambda: probe(model, inputs, targets),
        },
        rounds,
    )
    return {
        "network": NETWORK,
        "batch": BATCH,
        "rounds": rounds,
        "median_s": {name: statistics.median(values) for name, values in times.items()},
        "to_hand_written": asdict(ratio(times["gradflow"], times["hand-written"])),
        "to_public": asdict(ratio(times["gradflow"], times["public"])),
        "probe_share": asdict(ratio(times["probe"], [CADENCE * value for value in times["gradflow"]])),
        "all_s": {name: [round(value, 4) for value in values] for name, values in times.items()},
    }


def _pipeline(rounds: int) -> dict[str, Any]:
    """A batch of gradflow's and of the usual DataLoader, beside a step of the small network."""
    data, loader = batches(SMALL_BATCH, images()), forever(public_loader(SMALL_BATCH))
    iteration = 0

    def batch() -> object:
        nonlocal iteration
        iteration += 1
        return data.at(iteration)

    times = in_turn(
        {"batch": batch, "loader": lambda: next(loader), "step": gradflow_step(SMALL, SMALL_BATCH)}, rounds
    )
    return {
        "network": SMALL,
        "batch": SMALL_BATCH,
        "rounds": rounds,
        "median_s": {name: statistics.median(values) for name, values in times.items()},
        "share_of_step": asdict(ratio(times["batch"], times["step"])),
        "to_loader": asdict(ratio(times["batch"], times["loader"])),
        "all_s": {name: [round(value, 5) for value in values] for name, values in times.items()},
    }


def _page(found: dict[str, Any]) -> str:
    step, pipeline, provenance = found["step"], found["pipeline"], found["provenance"]
    seconds = step["median_s"]
    rows = [
        (
            f"a step / a hand-written channels-last step ({NETWORK}, batch {BATCH})",
            "to_hand_written",
            step,
            "1.05",
        ),
        (
            f"a step / a step as public repositories make it ({NETWORK}, batch {BATCH})",
            "to_public",
            step,
            "0.85",
        ),
        (f"a probe / {CADENCE} steps ({NETWORK}, batch {BATCH})", "probe_share", step, "0.015"),
        (f"making a batch / a step ({SMALL}, batch {SMALL_BATCH})", "share_of_step", pipeline, "0.03"),
        (f"making a batch / the same by a DataLoader ({SMALL_BATCH} images)", "to_loader", pipeline, "–"),
    ]
    return (
        "# What a training step costs\n\n"
        "A step of `gradflow train` is batch, forward and backward pass, optimiser, and the loss, error and "
        f"gradient norm that are recorded: {seconds['gradflow']:.3f} s (median). The hand-written step is "
        f"the same without recording: {seconds['hand-written']:.3f} s. The public one is contiguous, with a "
        "`DataLoader` of PIL transforms in the same process and a plain `torch.optim.SGD`: "
        f"{seconds['public']:.3f} s. All were timed in turn, {step['rounds']} rounds; a ratio is the median "
        "over rounds, with a bootstrap interval of 95 %. Between probes nothing is hooked, so a step costs "
        "the same with probes as without (`tests/training/test_loop.py` asserts it).\n\n"
        f"{limits_table((what, _said(Ratio(**where[key])), limit) for what, key, where, limit in rows)}\n\n"
        "The bar on the hand-written loop is for the upper end of the interval.\n\n"
        f"{made_by(provenance)}"
    )


def _said(value: Ratio) -> str:
    return f"{value.median:.4g}, 95 % interval {value.low:.4g} to {value.high:.4g}"


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
