"""What the five largest singular values of a preact164 branch cost in memory, beside a plain pass.

    python analyses/jacobian_benchmark.py

runs each in fresh processes, whose peak memory is compared, and writes to
`reports/jacobian_benchmark/`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import torch
from benchmark.passes import passes, peak_of
from provenance import describe_machine, to_json, write_output

import gradflow
from gradflow.spectrum import branch_jacobian, extreme_singular_values, linearised

NETWORK, LARGEST = "preact164", 5
UNITS = (1, 27, 53)


@click.command(context_settings={"show_default": True})
@click.option("--batch-size", type=click.IntRange(min=1), default=8, help="Images a batch.")
@click.option("--repeats", type=click.IntRange(min=1), default=3, help="Fresh processes of each kind.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports/jacobian_benchmark"),
)
@click.option("--only", hidden=True)
def main(batch_size: int, repeats: int, out: Path, only: str | None) -> None:
    """Measure the memory that singular values take, and write it to a folder."""
    if only:
        run = passes(NETWORK, batch_size)[0] if only == "plain" else _singular_values(int(only), batch_size)
        print(peak_of(run))
        return
    kinds = ["plain", *map(str, UNITS)]
    peaks: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind in kinds:
            command = [sys.executable, __file__, "--only", kind, "--batch-size", str(batch_size)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks[kind].append(float(printed))
            print(kind, printed.strip(), file=sys.stderr)
    found: dict[str, Any] = {
        "network": NETWORK,
        "batch": batch_size,
        "largest": LARGEST,
        "peak_MiB": peaks,
        "provenance": describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    page = _page(found)
    write_output(out, {"numbers.json": to_json(found), "README.md": page.encode()})
    print(page)


def _singular_values(unit: int, batch: int) -> Any:
    """Return what finds the singular values of one branch, with the forward pass that it needs."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    model = gradflow.build_model(NETWORK, seed=0).to(memory_format=torch.channels_last)

    def run() -> object:
        with linearised(model, images, bn="frozen") as network:
            return extreme_singular_values(branch_jacobian(network, unit), LARGEST)

    return run


def _page(found: dict[str, Any]) -> str:
    medians = {kind: statistics.median(peaks) for kind, peaks in found["peak_MiB"].items()}
    plain = medians["plain"]
    introduction = (
        f"The {found['largest']} largest singular values of ∂F/∂x of a unit of {found['network']}, batch "
        f"{found['batch']}, by `scipy.sparse.linalg.svds` on products alone, beside one plain forward and "
        f"backward pass: medians of {len(found['peak_MiB']['plain'])} fresh processes. Memory is the peak "
        "resident memory less what the process has with the network and the batch before it starts. "
        "`analyses/jacobian_benchmark.py` wrote this page."
    )
    lines = [
        "# What singular values of a branch cost in memory",
        "",
        introduction,
        "",
        "| What | Peak memory | Of a plain pass |",
        "|---|---|---|",
        f"| plain pass | {plain:.0f} MiB | 1 |",
    ]
    lines += [
        f"| unit {unit} | {medians[str(unit)]:.0f} MiB | {medians[str(unit)] / plain:.2f} |" for unit in UNITS
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
