"""The −1 argument: does a branch ever cancel its shortcut's gradient, and how often does it come near?

    python analyses/minus_one.py --data folder:IMAGES --data-name cifar10-jpeg75
    python analyses/minus_one.py --model preact20 --checkpoint ckpt.pt --out reports/minus_one_trained …

looks at every sample in every identity unit and span, of ten seeds each of untrained networks and in ten
batches of trained ones, and writes counts, figures, provenance and a page to `reports/minus_one/`. What was
measured is kept under `--work`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pandas as pd
import provenance
import torch
from cancelling.measuring import network, per_sample
from cancelling.page import write_page
from cancelling.summary import count_near, networks
from common.images import Images, load_batch
from common.keeping import measure_all
from common.options import COUNT, checkpoint_option, image_options, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result

from gradflow.checkpoint import load_checkpoint
from gradflow.cli.subject import describe_checkpoint
from gradflow.plots import plot_cancellation, plot_survival


@click.command(context_settings={"show_default": True})
@image_options
@click.option(
    "--model",
    "models",
    multiple=True,
    default=["preact110", "preact164", "resnet110", "resnet164"],
    help="A network of the zoo; may be repeated.",
)
@checkpoint_option
@click.option("--split", default="train", help="Which images of the data.")
@click.option("--seeds", type=COUNT, default=10, help="How many; of batches alone for a trained network.")
@click.option("--batch-size", type=COUNT, default=16, help="Images a batch.")
@run_options("minus_one")
def main(
    data: str,
    data_name: str | None,
    models: tuple[str, ...],
    checkpoints: dict[str, str],
    split: str,
    seeds: int,
    batch_size: int,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Look for samples whose branch cancels their shortcut's gradient.

    Untrained networks use their batch's BN statistics, held constant, trained ones their running statistics.
    """
    torch.set_num_threads(threads)
    images = Images(data, data_name)

    def measure(key: Mapping[str, Any]) -> pd.DataFrame:
        checkpoint = weights[key["model"]] if key["checkpoint"] else None
        inputs, targets, _ = load_batch(images, batch_size, key["seed"], split, checkpoint)
        return per_sample(network(key["model"], key["seed"], checkpoint), inputs, targets, key["bn"])

    with in_one_line():
        weights = {name: load_checkpoint(place) for name, place in checkpoints.items()}
        cases = [(model, "", "frozen") for model in models]
        cases += [(model, held.sha256[:12], "running") for model, held in weights.items()]
        keys = [
            {"model": model, "checkpoint": digest, "bn": bn, "seed": seed, "batch_size": batch_size}
            | {"data": images.shown}
            | ({} if split == "train" else {"split": split})
            for model, digest, bn in cases
            for seed in range(seeds)
        ]
        samples = measure_all(work, keys, measure, redraw=redraw)
        counts, drawn = count_near(samples), list(networks(samples))
        figures = {"cancellation": plot_cancellation(drawn), "survival": plot_survival(drawn)}
        told = provenance.describe_machine(["python", *sys.argv])
        told |= {"data": f"{images.shown}, {split}", "seeds": f"0-{seeds - 1}", "dtype": "float32"}
        told["checkpoints"] = {model: describe_checkpoint(held) for model, held in weights.items()}
        page = write_page(counts, images.shown, seeds, batch_size)
        result = Result(figures, {"numbers.csv": to_csv(counts)}, told, page)
        write_result(out, result, redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


if __name__ == "__main__":
    main()
