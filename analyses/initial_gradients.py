"""Gradient norm by depth at initialisation, held against what theory predicts.

    python analyses/initial_gradients.py --data folder:IMAGES --data-name cifar10-jpeg75

measures post-activation, pre-activation and plain networks of 20 to 1001 layers, ten seeds each, and
writes figures, numbers, provenance and a page of findings to `reports/initial_gradients/`. What was
measured is kept under `--work`, so it can be interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd
import provenance
import torch
from common.images import Images
from common.options import COUNT, image_options, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result
from initialisation.drawing import NETWORKS
from initialisation.figures import draw_all
from initialisation.fits import fit_laws, trend_over_depths
from initialisation.laws import LAWS
from initialisation.measuring import Case, Measurement, cases, measure
from initialisation.page import write_page

from gradflow.statistics import aggregate, with_shares
from gradflow.theory import judge

_COLUMNS = ("grad_in_norm", "x_norm", "backward_gain", "forward_branch_share", "backward_cosine")


@click.command(context_settings={"show_default": True})
@image_options
@click.option("--depths", default="20,56,110,164,1001", help="Layers, as in the zoo's names.")
@click.option(
    "--network",
    "networks",
    type=click.Choice(list(NETWORKS)),
    multiple=True,
    default=list(NETWORKS),
    help="Which kind; may be repeated.",
)
@click.option("--seeds", type=COUNT, default=10, help="How many.")
@click.option("--batch-size", type=COUNT, default=32, help="Images a batch.")
@click.option("--deep-batch-size", type=COUNT, default=8, help="The same from 1000 layers on.")
@run_options("initial_gradients", threads=2)
def main(
    data: str,
    data_name: str | None,
    depths: str,
    networks: tuple[str, ...],
    seeds: int,
    batch_size: int,
    deep_batch_size: int,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Measure gradient norms of untrained networks by depth, and hold them against theory."""
    torch.set_num_threads(threads)
    with in_one_line():
        chosen = cases(
            networks,
            depths.split(","),
            seeds=seeds,
            batch=batch_size,
            deep_batch=deep_batch_size,
        )
        measurements = measure_all(chosen, Images(data, data_name), work, redraw=redraw)
        write_report(measurements, out, redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


def measure_all(chosen: Sequence[Case], images: Images, work: Path, *, redraw: bool) -> list[Measurement]:
    """Measure every case and seed that is not in `work` yet, if not only to `redraw`; return all of them."""
    plan = [(case, seed) for case in chosen for seed in range(case.seeds)]
    measurements = []
    for number, (case, seed) in enumerate(plan, start=1):
        click.echo(f"{number}/{len(plan)} {case.name}, seed {seed}", err=True)
        measurements.append(measure(case, seed, images, work, redraw=redraw))
    return measurements


def write_report(measurements: Sequence[Measurement], out: Path, *, redraw: bool) -> None:
    """Write figures, numbers, predictions, provenance and findings to `out`.

    Raises:
        RecordError: if `out` cannot be written.
    """
    rows = [row for measurement in measurements for row in fit_laws(measurement)]
    frame = pd.DataFrame(rows + trend_over_depths(rows)).astype({"stage": "Int64"})
    verdicts = judge(frame, LAWS, by=("network", "depth", "kind", "bn", "stage"))
    figures = draw_all(measurements, verdicts)
    tables = {"numbers.csv": to_csv(numbers(measurements)), "predictions.csv": to_csv(verdicts)}
    first = measurements[0]
    told = provenance.describe(
        ["python", *sys.argv],
        (record for measurement in measurements for record in measurement.records.values()),
        data=str(first.records["batch"].meta["data"]["name"]).removeprefix("folder:"),
        seeds={m.case.name: f"0-{m.case.seeds - 1}" for m in measurements},
    )
    page = write_page(measurements, verdicts, list(figures))
    write_result(out, Result(figures, tables, told, page), redraw=redraw)


def numbers(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return one row a network, depth, BN mode and unit: means over seeds with 95 % intervals."""
    parts = []
    for measurement in measurements:
        for bn, record in measurement.records.items():
            shares = with_shares(record.units)
            kept = shares[["iteration", "seed", "batch_index", "unit", "stage", *_COLUMNS]]
            parts.append(kept.assign(network=measurement.case.network, depth=measurement.case.depth, bn=bn))
    frame = pd.concat(parts, ignore_index=True)
    averaged = aggregate(frame, _COLUMNS, by=("network", "depth", "bn", "stage", "unit"))
    return averaged.drop(columns="iteration").rename(columns={"replicates": "seeds"})


if __name__ == "__main__":
    main()
