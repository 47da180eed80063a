"""λ^k, predicted and measured: what comes back through k shortcuts alone, and in all.

    python analyses/shortcut_powers.py --data folder:IMAGES --data-name cifar10-jpeg75

builds pre-activation ResNet-110 with scaled, gated, convolutional and dropped-out shortcuts, ten seeds each,
blocks every branch in a backward pass of the real network, and writes what arrives beside the whole
gradient to `reports/shortcut_powers/`. What was measured is kept under `--work`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import provenance
import torch
from common.images import Images, load_batch
from common.keeping import measure_all
from common.options import COUNT, image_options, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result
from gains.figures import draw_powers
from gains.measuring import CASES, measure_gains
from gains.page import write_page
from gains.summary import judge_rates, summarise


@click.command(context_settings={"show_default": True})
@image_options
@click.option("--model", default="preact110", help="A pre-activation network of the zoo.")
@click.option("--seeds", type=COUNT, default=10, help="How many.")
@click.option("--batch-size", type=COUNT, default=4, help="Images a batch.")
@run_options("shortcut_powers")
def main(
    data: str,
    data_name: str | None,
    model: str,
    seeds: int,
    batch_size: int,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Block the branches of untrained networks, and hold what comes back against λ^k."""
    torch.set_num_threads(threads)
    images = Images(data, data_name)
    cases = {case.shortcut: case for case in CASES}
    keys = [
        {"model": model, "shortcut": name, "seed": seed, "batch_size": batch_size, "data": images.shown}
        for name in cases
        for seed in range(seeds)
    ]
    with in_one_line():
        gains = measure_all(
            work,
            keys,
            lambda key: measure_gains(
                model,
                cases[key["shortcut"]],
                *load_batch(images, batch_size, key["seed"])[:2],
                key["seed"],
            ),
            redraw=redraw,
        )
        summary, rates = summarise(gains), judge_rates(gains)
        figure = draw_powers(summary, model)
        told = provenance.describe_machine(["python", *sys.argv])
        told |= {"data": images.shown, "seeds": f"0-{seeds - 1}", "dtype": "float64"}
        page = write_page(gains, summary, rates, model, images.shown, batch_size)
        tables = {"numbers.csv": to_csv(summary), "rates.csv": to_csv(rates)}
        write_result(out, Result({"powers": figure}, tables, told, page), redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


if __name__ == "__main__":
    main()
