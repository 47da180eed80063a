"""What a recorder's measured step costs: time and memory beside a plain step, and other tools beside it.

Timings mean something only beside one another, so all are ratios of steps that were made in turn, as
medians with bootstrap intervals; each comparison has a process of its own, since some tools stay in it.
It takes what `pip install 'gradflow[wandb,transformers]' torchlens` installs. Run it on a machine that
does nothing else:

    python analyses/recorder_benchmark.py
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

from benchmark.page import limits_table, made_by
from benchmark.passes import peak_of
from benchmark.timing import in_turn, ratio
from provenance import describe_machine, to_json, write_output
from recorder_cost.steps import WAYS, idle_microseconds
from recorder_cost.work import TRIAL, WORK

from gradflow.importing import describe

PEERS = {"wandb": 'wandb.watch(log="gradients")', "torchlens": "TorchLens"}
STEPS = 2
"""In a process of which memory is measured: the second has the first one's gradients to clear."""


@click.command()
@click.option("--pairs", type=click.IntRange(min=3), default=20, show_default=True, help="Interleaved pairs.")
@click.option(
    "--peer-pairs", type=click.IntRange(min=3), default=5, show_default=True, help="Of other tools."
)
@click.option("--repeats", type=click.IntRange(min=1), default=15, show_default=True, help="Fresh processes.")
@click.option(
    "--peer-repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Of other tools."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/recorder_benchmark"),
    show_default=True,
)
@click.option("--trial", is_flag=True, help="Small networks, to try the script; the numbers mean nothing.")
@click.option("--only", type=click.Choice(["time", "memory"]), hidden=True)
@click.option("--network", type=click.Choice([*WORK]), hidden=True)
@click.option("--way", type=click.Choice([*WAYS]), hidden=True)
def main(
    pairs: int,
    peer_pairs: int,
    repeats: int,
    peer_repeats: int,
    out: Path,
    trial: bool,
    only: str | None,
    network: str | None,
    way: str | None,
) -> None:
    """Measure what a recorder's measured step costs, and write figures and provenance to a folder."""
    if only is not None and network is not None and way is not None:
        print(json.dumps(_alone(only, network, way, pairs, trial)))
        return
    found: dict[str, Any] = {
        "networks": {
            name: _measure(name, (pairs, peer_pairs), (repeats, peer_repeats), trial) for name in WORK
        }
    }
    found["idle_us"] = idle_microseconds(9)
    found["peers"] = {name: version(name) for name in PEERS}
    found["provenance"] = describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]])
    write_output(out, {"numbers.json": to_json(found), "README.md": _page(found).encode()})
    print(_page(found))


def _measure(network: str, pairs: tuple[int, int], repeats: tuple[int, int], trial: bool) -> dict[str, Any]:
    """Return everything about one network: memory of each way, and its time beside a plain step's.

    Args:
        network: a key of `WORK`.
        pairs: of plain steps and measured ones, and of plain steps and other tools' ones.
        repeats: fresh processes, and fresh processes of other tools.
        trial: whether small networks will do.
    """
    small = ["--trial"] if trial else []
    memory: dict[str, list[float] | str] = {}
    for way in WAYS:
        tries = [_in_process(network, way, "memory", *small) for _ in range(repeats[way in PEERS])]
        errors = [one for one in tries if isinstance(one, str)]
        memory[way] = errors[0] if errors else tries
    times = {
        way: _in_process(network, way, "time", f"--pairs={pairs[way in PEERS]}", *small)
        for way in WAYS
        if way != "plain"
    }
    work = (TRIAL if trial else WORK)[network]()
    return {"name": work.name, "batch": work.says, "memory_MiB": memory, "time": times}


def _in_process(network: str, way: str, only: str, *more: str) -> Any:
    """Return what a process of its own finds; why it ended, if that was too early."""
    command = [sys.executable, __file__, f"--only={only}", f"--network={network}", f"--way={way}", *more]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    print(f"{network}, {way}: {only} measured, exit status {done.returncode}", file=sys.stderr)
    if done.returncode:
        return f"exit status {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1])


def _alone(only: str, network: str, way: str, pairs: int, trial: bool) -> Any:
    """Return what this process was started to measure; of another tool that fails, why, in one sentence."""
    try:
        return _time(network, way, pairs, trial) if only == "time" else _memory(network, way, trial)
    except Exception as error:
        if way not in PEERS:
            raise
        traceback.print_exc()
        return _sentence(error)


def _sentence(error: Exception) -> str:
    """Return an error's type and the first sentence of its message."""
    return re.split(r"(?<=[.!?]) (?=[A-Z])", describe(error), maxsplit=1)[0]


def _time(network: str, way: str, pairs: int, trial: bool) -> dict[str, Any]:
    """Time a plain step and one of `way` in turn, each on a network of its own."""
    build = (TRIAL if trial else WORK)[network]
    with WAYS["plain"](build()) as plain, WAYS[way](build()) as step:
        times = in_turn({"plain": plain, way: step}, pairs)
    found = ratio(times[way], times["plain"])
    return {
        "pairs": pairs,
        "ratio": found.median,
        "interval_95": [found.low, found.high],
        "plain_s": statistics.median(times["plain"]),
        "step_s": statistics.median(times[way]),
        "all_s": {name: [round(value, 4) for value in values] for name, values in times.items()},
    }


def _memory(network: str, way: str, trial: bool) -> float:
    """Return by how much the steps of one way let a fresh process's peak memory grow, in MiB."""
    with WAYS[way]((TRIAL if trial else WORK)[network]()) as step:
        return peak_of(lambda: [step() for _ in range(STEPS)])


def _page(found: dict[str, Any]) -> str:
    rows, peers = [], []
    for one in found["networks"].values():
        rows += [
            (
                f"time of a measured step / a plain one ({one['name']}, {one['batch']})",
                _said_time(one, "recorder"),
                "1.15",
            ),
            (
                f"peak memory of measured steps / plain ones ({one['name']})",
                _said_memory(one, "recorder"),
                "1.05",
            ),
        ]
        for way, name in PEERS.items():
            what = f"{name} {found['peers'][way]}, {one['name']}"
            peers.append(f"| {what} | {_said_time(one, way)} | {_said_memory(one, way)} |")
    idle = statistics.median(found["idle_us"])
    rows.append(("`step()` when no measurement is due", f"{idle:.2f} µs", "a few µs"))
    seconds = " and ".join(
        f"{one['time']['recorder']['plain_s']:.2f} s ({one['name']})" for one in found["networks"].values()
    )
    return (
        "# What a recorder costs\n\n"
        "A step clears gradients, runs both passes and applies plain SGD on the CPU in float32: "
        f"{seconds}, medians. A measured step is the same inside a `gradflow.Recorder(every=1)`, the "
        "record's tables included. Steps were made in turn, each comparison in a process of its own; a ratio "
        "is the median over pairs, the interval a bootstrap of it. Memory is by how much two steps let a "
        "fresh process's peak grow; each figure is the median over processes, which differ in "
        "how the system's allocator finds room. Before the backward pass of a measured step, and of no plain "
        "one, memory that lies free between tensors goes back to the system (`malloc_trim`).\n\n"
        f"{limits_table(rows)}\n\n"
        "The same steps under other tools, at every step, too. `wandb.watch` is offline and makes histograms "
        "of the parameters' gradients, which `log` writes; TorchLens traces the network, keeps gradients and "
        "audits them. Neither measures what a recorder does.\n\n"
        "| Tool | Time / plain step | Peak memory / plain |\n|---|---|---|\n" + "\n".join(peers) + "\n\n"
        f"{made_by(found['provenance'])}"
    )


def _said_time(one: dict[str, Any], way: str) -> str:
    time = one["time"][way]
    if isinstance(time, str):
        return f"ended with: {time}"
    low, high = time["interval_95"]
    return f"{time['ratio']:.3f}, 95 % interval {low:.3f} to {high:.3f} ({time['pairs']} pairs)"


def _said_memory(one: dict[str, Any], way: str) -> str:
    here, plain = one["memory_MiB"][way], one["memory_MiB"]["plain"]
    if isinstance(here, str):
        return f"ended with: {here}"
    middle, beside = statistics.median(here), statistics.median(plain)
    ranges = " and ".join(
        f"{min(some):.0f} to {max(some):.0f} in {len(some)} processes" for some in (here, plain)
    )
    return f"{middle / beside:.3f} ({middle:.0f} / {beside:.0f} MiB; {ranges})"


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
