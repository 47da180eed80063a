"""Theory beside measurement where ResNets cannot tell: fully connected nets and transformers.

    python analyses/theory_elsewhere.py --data folder:IMAGES --data-name cifar10-jpeg75

holds Balduzzi's gradient correlations, the growth of networks without normalisation, and Xiong's slopes of
pre- and post-LN transformers against ten seeds each, on noise and on images, and writes figures, numbers,
verdicts, provenance and a page to `reports/theory_elsewhere/`. What was measured is kept under `--work`.
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
from elsewhere.figures import draw_correlations, draw_transformers
from elsewhere.fits import judge_all
from elsewhere.measuring import measure_connected, measure_transformers, noise
from elsewhere.page import write_page


@click.command(context_settings={"show_default": True})
@image_options
@click.option("--seeds", type=COUNT, default=10, help="How many.")
@click.option("--batch-size", type=click.IntRange(min=2), default=64, help="Vectors a batch.")
@click.option("--transformer-batch-size", type=COUNT, default=8, help="Images a batch of transformers.")
@run_options("theory_elsewhere")
def main(
    data: str,
    data_name: str | None,
    seeds: int,
    batch_size: int,
    transformer_batch_size: int,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Measure fully connected nets and transformers at initialisation, and hold them against theory."""
    torch.set_num_threads(threads)
    images = Images(data, data_name)
    sizes = {"connected": batch_size, "transformers": transformer_batch_size}
    with in_one_line():
        connected = measure_all(
            work,
            [
                {"what": "connected", "inputs": inputs, "seed": seed, "batch_size": batch_size}
                for inputs in ("noise", images.shown)
                for seed in range(seeds)
            ],
            lambda key: measure_connected(
                noise(batch_size, key["seed"])
                if key["inputs"] == "noise"
                else load_batch(images, batch_size, key["seed"])[0],
                key["seed"],
            ),
            redraw=redraw,
        )
        transformers = measure_all(
            work,
            [
                {
                    "what": "transformers",
                    "inputs": images.shown,
                    "seed": seed,
                    "batch_size": sizes["transformers"],
                }
                for seed in range(seeds)
            ],
            lambda key: measure_transformers(
                *load_batch(images, transformer_batch_size, key["seed"])[:2], key["seed"]
            ),
            redraw=redraw,
        )
        verdicts = judge_all(connected, transformers)
        figures = {
            "correlations": draw_correlations(connected),
            "transformers": draw_transformers(transformers),
        }
        told = provenance.describe_machine(["python", *sys.argv])
        told |= {"data": f"noise, {images.shown}", "seeds": f"0-{seeds - 1}", "dtype": "float64"}
        page = write_page(connected, verdicts, images.shown, seeds, sizes)
        result = Result(figures, {"verdicts.csv": to_csv(verdicts)}, told, page)
        write_result(out, result, redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


if __name__ == "__main__":
    main()
