"""Zaeemzadeh's gradient ratio where it was predicted: in training, over depths and seeds.

    python analyses/ratios_in_training.py --data folder:IMAGES --data-name cifar10-jpeg75

trains pre-activation networks of several depths from ten seeds each by the compressed recipe, with probes
on the way, and writes a page to `reports/ratios_in_training/`. Training goes on where it was stopped.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

import provenance
from common.options import COUNT, image_options, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result
from full_training.running import Queue
from in_training.figures import draw_ratios
from in_training.fits import judge_all
from in_training.page import write_page
from in_training.runs import nets, ratios, read_records


@click.command(context_settings={"show_default": True})
@image_options
@click.option("--depths", default="14,20,32", help="Layers, 6 n + 2 each.")
@click.option("--seeds", type=COUNT, default=10, help="How many.")
@click.option("--iterations", type=COUNT, default=150, help="Of training.")
@click.option("--batch-size", type=COUNT, default=32, help="Of training and of probes.")
@click.option("--minutes", type=float, default=600.0, help="Of training, at most, in this call.")
@run_options("ratios_in_training")
def main(
    data: str,
    data_name: str | None,
    depths: str,
    seeds: int,
    iterations: int,
    batch_size: int,
    minutes: float,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Train networks of several depths, and hold their gradients' ratios against the prediction."""
    wanted = nets([int(depth) for depth in depths.split(",")], seeds)
    options = [f"--data={data}", *([f"--data-name={data_name}"] if data_name else [])]
    options += ["--recipe=he2016-short", f"--iterations={iterations}", f"--batch-size={batch_size}"]
    options += [f"--probe-batch-size={batch_size}", f"--probe-every={max(1, iterations // 5)}"]
    options += [f"--test-every={iterations}", "--check-every=0", "--quiet"]
    with in_one_line():
        if not redraw:
            work.mkdir(parents=True, exist_ok=True)
            os.environ["OMP_NUM_THREADS"] = str(threads)  # of the processes that train
            Queue(work, tuple(options)).work(wanted, minutes, pack=1)
        records = read_records(work, wanted)
        found = ratios(records)
        verdicts = judge_all(found)
        shown = str(next(iter(records.values())).meta["data"]["name"]).removeprefix("folder:")
        figure = draw_ratios(found)
        told = provenance.describe(
            ["python", *sys.argv], records.values(), data=shown, seeds={depths: f"0-{seeds - 1}"}
        )
        told["runs"] = {net.name: record.meta["command"] for net, record in records.items()}
        recipe = f"`gradflow train`, recipe `he2016-short`, {iterations} iterations of {batch_size} images."
        page = write_page(found, verdicts, records, shown, recipe)
        tables = {"ratios.csv": to_csv(found), "verdicts.csv": to_csv(verdicts)}
        write_result(out, Result({"ratios": figure}, tables, told, page), redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


if __name__ == "__main__":
    main()
