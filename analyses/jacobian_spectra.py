"""Singular values of Jacobians at initialisation: what a span of units does to a small change.

    python analyses/jacobian_spectra.py --data folder:IMAGES --data-name cifar10-jpeg75

measures the Jacobians ∂F/∂x of branches and ∂x_L/∂x_l of spans, without forming them, of
pre-activation, post-activation and plain networks and of two pre-activation networks with scaled
branches, ten seeds each, and writes figures, numbers, predictions and a page to
`reports/jacobian_spectra/`. What was measured is kept under `--work`, so it can be interrupted.
"""

from __future__ import annotations

import sys
from io import BytesIO
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
from matplotlib.figure import Figure
from spectra.figures import draw_branches, draw_spans
from spectra.measuring import Case, cases, measure, spans
from spectra.page import write_page
from spectra.tables import branch_numbers, judge, span_numbers

from gradflow.record import Record
from gradflow.record.files import explained

TABLES = ("spans.csv", "branches.csv", "predictions.csv")


@click.command(context_settings={"show_default": True})
@image_options
@click.option("--depth", default="56", help="Layers, as in the zoo's names.")
@click.option("--seeds", type=COUNT, default=10, help="How many.")
@click.option("--batch-size", type=COUNT, default=2, help="Images a batch.")
@click.option("--width", type=COUNT, help="Channels of the first stage, if not the zoo's own.")
@run_options("jacobian_spectra")
def main(
    data: str,
    data_name: str | None,
    depth: str,
    seeds: int,
    batch_size: int,
    width: int | None,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Measure singular values of the Jacobians of untrained networks, and hold them against theory."""
    torch.set_num_threads(threads)
    images = Images(data, data_name)
    with in_one_line():
        if redraw:
            draw_again(depth, out)
            click.echo(f"drew {out} again")
            return
        measured: dict[Case, Record] = {}
        for case in cases(depth):
            records = []
            for seed in range(seeds):
                click.echo(f"{case.title}, seed {seed}", err=True)
                records.append(measure(case, depth, seed, images, batch_size, work, width=width))
            measured[case] = Record.concat(records)
        write_report(measured, depth, images.shown, out)
    click.echo(f"wrote {out / 'README.md'}")


def write_report(measured: dict[Case, Record], depth: str, data: str, out: Path) -> None:
    """Write figures, numbers, provenance and the page to `out`.

    Raises:
        RecordError: if `out` cannot be written.
    """
    ends = spans(depth)
    found, branches = span_numbers(measured, ends), branch_numbers(measured)
    verdicts = judge(measured, ends)
    figures = draw_all(found, branches, verdicts, depth)
    tables = dict(zip(TABLES, map(to_csv, (found, branches, verdicts)), strict=True))
    told = provenance.describe(
        ["python", *sys.argv],
        measured.values(),
        data=data,
        seeds={case.key: ", ".join(map(str, record.meta["seeds"])) for case, record in measured.items()},
    )
    page = write_page(measured, depth, found, verdicts)
    write_result(out, Result(figures, tables, told, page), redraw=False)


def draw_again(depth: str, out: Path) -> None:
    """Draw the figures anew from the tables in `out`, which hold all that they show.

    Raises:
        RecordError: if a table is not there.
    """
    with explained(out):
        tables = {name: (out / name).read_bytes() for name in TABLES}
    figures = draw_all(*(pd.read_csv(BytesIO(content)) for content in tables.values()), depth)
    write_result(out, Result(figures, tables, {}, page=None), redraw=True)


def draw_all(
    found: pd.DataFrame, branches: pd.DataFrame, verdicts: pd.DataFrame, depth: str
) -> dict[str, Figure]:
    """Return the figures by name."""
    titles = {case.key: case.title for case in cases(depth)}
    return {"spans": draw_spans(found, verdicts, titles), "branches": draw_branches(branches, titles)}


if __name__ == "__main__":
    main()
