"""What checking all equations costs: time beside a plain pass in float64, by depth, and memory.

Timings mean something only beside one another, so all are ratios of passes that were run in
turn, as medians with bootstrap intervals. Run it on a machine that does nothing else:

    python analyses/check_benchmark.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
import torch

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

from benchmark.page import limits_table, made_by
from benchmark.passes import command_peak, compare, compare_depths
from provenance import describe_machine, to_json, write_output

from gradflow.equations import check

NETWORK, BATCH = "preact164", 8
DEEP, DEEP_BATCH = "preact1001", 4
_DEEP_CHECK = ("check", "--model", DEEP, "--dtype", "float64", "--batch-size", str(DEEP_BATCH))


@click.command()
@click.option("--pairs", type=click.IntRange(min=3), default=9, show_default=True, help="Interleaved pairs.")
@click.option("--deep-pairs", type=click.IntRange(min=2), default=3, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/check_benchmark"),
    show_default=True,
)
def main(pairs: int, deep_pairs: int, out: Path) -> None:
    """Measure what a check costs, and write numbers and provenance to a folder."""
    # Memory comes first: a new process counts its parent's size at that moment as a peak of its own.
    found: dict[str, Any] = {"memory_MiB": command_peak(_DEEP_CHECK)}
    how = torch.float64, check
    found["time"] = compare("check", NETWORK, BATCH, pairs, *how)
    found["depth"] = compare_depths("check", (NETWORK, DEEP), DEEP_BATCH, deep_pairs, *how)
    found["provenance"] = describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]])
    write_output(out, {"numbers.json": to_json(found), "README.md": _page(found).encode()})
    print(_page(found))


def _page(found: dict[str, Any]) -> str:
    time_, depth, memory = found["time"], found["depth"], found["memory_MiB"]
    low, high = time_["interval_95"]
    rows = [
        (
            f"time of a check of all equations / plain pass ({NETWORK}, float64, batch {BATCH})",
            f"{time_['ratio']:.2f}, 95 % interval {low:.2f} to {high:.2f} ({time_['pairs']} pairs)",
            "4",
        ),
        (
            f"({DEEP} / {NETWORK}) of checks / the same of plain passes, float64, batch {DEEP_BATCH}",
            f"{depth['ratio_of_ratios']:.3f}",
            "1 is linear in depth",
        ),
        (
            f"peak memory of `gradflow check --model {DEEP} --dtype float64 --batch-size {DEEP_BATCH}`",
            f"{memory / 1024:.2f} GiB",
            "12 GB",
        ),
    ]
    return (
        "# What checking the equations costs\n\n"
        "A check fills a record as a probe does and evaluates equations 1 to 9 on every unit and span, which "
        "takes one more backward pass a stage for the paper's form of eq. 5 and 8, one with the branches "
        "blocked, and for eq. 9 a forward and a backward pass of the rewritten network. The plain pass is a "
        f"forward and backward pass with nothing attached: {time_['plain_s']:.2f} s (median); a check took "
        f"{time_['check_s']:.2f} s. Pairs were run in turn in one process; the ratio is the median over "
        "pairs, the interval a bootstrap of it.\n\n"
        f"{limits_table(rows)}\n\n"
        f"{made_by(found['provenance'])}"
    )


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    main()
