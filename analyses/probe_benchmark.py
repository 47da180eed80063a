"""What a probe costs: time and memory beside a plain pass, by depth, and the command line's own.

Timings mean something only beside one another, so all are ratios of passes that were run in
turn, as medians with bootstrap intervals. Run it on a machine that does nothing else:

    python analyses/probe_benchmark.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

from benchmark.page import limits_table, made_by
from benchmark.passes import command_peak, compare, compare_depths, peak_memory
from benchmark.timing import ratio_over_processes
from provenance import describe_machine, to_json, write_output

NETWORK, BATCH = "preact164", 32
DEEP, DEEP_BATCH = "preact1001", 8


@click.command()
@click.option(
    "--pairs", type=click.IntRange(min=3), default=12, show_default=True, help="Interleaved, of a process."
)
@click.option("--processes", type=click.IntRange(min=1), default=6, show_default=True)
@click.option("--deep-pairs", type=click.IntRange(min=3), default=9, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Fresh processes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/probe_benchmark"),
    show_default=True,
)
@click.option("--only-memory", type=click.Choice(["plain", "probed"]), hidden=True)
@click.option("--only-time", is_flag=True, hidden=True)
@click.option("--network", default=NETWORK, hidden=True)
@click.option("--batch", default=BATCH, hidden=True)
def main(
    pairs: int,
    processes: int,
    deep_pairs: int,
    repeats: int,
    out: Path,
    only_memory: str | None,
    only_time: bool,
    network: str,
    batch: int,
) -> None:
    """Measure what a probe costs, and write figures and provenance to a folder."""
    if only_memory:
        print(peak_memory(only_memory, network, batch))
        return
    if only_time:
        print(json.dumps(compare("probe", network, batch, pairs)))
        return
    # Memory comes first: a new process counts its parent's size at that moment as a peak of its own.
    found: dict[str, Any] = {"memory": _memory(repeats)}
    found["time"] = _time(pairs, processes)
    found["depth"] = compare_depths("probe", (NETWORK, DEEP), DEEP_BATCH, deep_pairs)
    found["depth"]["command_peak_MiB"] = command_peak(
        ["probe", "--model", DEEP, "--batch-size", str(DEEP_BATCH)]
    )
    found["command line"] = _command_line(repeats)
    found["provenance"] = describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]])
    write_output(out, {"numbers.json": to_json(found), "README.md": _page(found).encode()})
    print(_page(found))


def _time(pairs: int, processes: int) -> dict[str, Any]:
    """Return what several processes, one after the other, find of the time."""
    command = [sys.executable, __file__, "--only-time", f"--pairs={pairs}"]
    each = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(processes)
    ]
    ratios = [
        [probed / plain for probed, plain in zip(one["probe_all_s"], one["plain_all_s"], strict=True)]
        for one in each
    ]
    found = ratio_over_processes(ratios)
    seconds = {
        name: statistics.median(value for one in each for value in one[f"{name}_all_s"])
        for name in ("plain", "probe")
    }
    return {
        "network": NETWORK,
        "batch": BATCH,
        "processes": processes,
        "pairs": pairs * processes,
        **{f"{name}_s": value for name, value in seconds.items()},
        "ratio": found.median,
        "interval_95": [found.low, found.high],
        "ratio_of_each_process": [one["ratio"] for one in each],
        **{f"{name}_all_s": [one[f"{name}_all_s"] for one in each] for name in seconds},
    }


def _memory(repeats: int) -> dict[str, Any]:
    peaks: dict[str, list[float]] = {"plain": [], "probed": []}
    for _ in range(repeats):
        for which, values in peaks.items():
            command = [sys.executable, __file__, "--only-memory", which]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            values.append(float(printed))
    medians = {which: statistics.median(values) for which, values in peaks.items()}
    return {
        "network": NETWORK,
        "batch": BATCH,
        "processes": repeats,
        "plain_MiB": medians["plain"],
        "probe_MiB": medians["probed"],
        "ratio": medians["probed"] / medians["plain"],
        "plain_all_MiB": peaks["plain"],
        "probe_all_MiB": peaks["probed"],
    }


def _command_line(repeats: int) -> dict[str, float]:
    gradflow = [sys.executable, "-m", "gradflow"]
    help_times = [_seconds([*gradflow, "--help"]) for _ in range(repeats)]
    with tempfile.TemporaryDirectory() as folder:
        for network in (NETWORK, "resnet164"):
            _seconds([*gradflow, "probe", "--model", network, "--out", f"{folder}/runs/{network}"])
        report = [*gradflow, "report", f"{folder}/runs/{NETWORK}", f"{folder}/runs/resnet164"]
        report_times = [_seconds([*report, "--out", f"{folder}/reports"]) for _ in range(repeats)]
    return {"help_s": statistics.median(help_times), "report_two_runs_s": statistics.median(report_times)}


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def _page(found: dict[str, Any]) -> str:
    time_, memory, depth, line = (found[key] for key in ("time", "memory", "depth", "command line"))
    low, high = time_["interval_95"]
    rows = [
        (
            f"time of a probe / plain pass ({NETWORK}, batch {BATCH}, float32, channels-last)",
            f"{time_['ratio']:.3f}, 95 % interval {low:.3f} to {high:.3f} ({time_['pairs']} pairs)",
            "1.15",
        ),
        (
            "peak memory of a probe / plain pass, imports taken off",
            f"{memory['ratio']:.3f} ({memory['probe_MiB']:.0f} / {memory['plain_MiB']:.0f} MiB, medians)",
            "1.05",
        ),
        (
            f"({DEEP} / {NETWORK}) of probes / the same of plain passes, batch {DEEP_BATCH}",
            f"{depth['ratio_of_ratios']:.3f}",
            "1.05",
        ),
        (
            f"peak memory of `gradflow probe --model {DEEP} --batch-size {DEEP_BATCH}`",
            f"{depth['command_peak_MiB'] / 1024:.2f} GiB",
            "8 GB",
        ),
        ("`gradflow --help`", f"{line['help_s']:.2f} s", "0.5 s"),
        ("`gradflow report` on two runs", f"{line['report_two_runs_s']:.1f} s", "10 s"),
    ]
    return (
        "# What a probe costs\n\n"
        "A probe is one forward and one backward pass with everything attached that fills a record, the "
        "record's tables included. The plain pass is the same forward and backward pass with nothing "
        f"attached: {time_['plain_s']:.3f} s (median); a probe took {time_['probe_s']:.3f} s. Pairs were run "
        f"in turn in {time_['processes']} processes, one after the other, since how a process's memory lies "
        "makes all of its passes faster or slower: medians of single processes were "
        f"{', '.join(f'{one:.3f}' for one in time_['ratio_of_each_process'])}. The ratio is the median over "
        "all pairs, the interval a bootstrap of it that draws processes, and pairs of each.\n\n"
        f"{limits_table(rows)}\n\n"
        f"{made_by(found['provenance'])}"
    )


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
