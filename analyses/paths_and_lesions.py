"""Veit et al. 2016: which paths the gradient comes through, and how much a network misses its units.

    python analyses/paths_and_lesions.py --data folder:IMAGES --data-name cifar10-jpeg75 \
        --network preact20 --checkpoint preact20=preact20.pt

measures gradients by length of path, and test errors with units left out or exchanged, of untrained
networks and of the given checkpoints, ten repetitions each, and writes figures, numbers and a page to
`reports/paths_and_lesions/`. What was measured is kept under `--work`, so it can be interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pandas as pd
import provenance
import torch
from common.colours import coloured
from common.images import Images
from common.options import checkpoint_option, image_options, read_pairs, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result
from lesioned.measuring import Case, measure, trained_error
from lesioned.page import write_page

from gradflow import plots
from gradflow.checkpoint import load_checkpoint
from gradflow.record import Record

_COUNT = click.IntRange(min=2)


@click.command(context_settings={"show_default": True})
@image_options
@click.option(
    "--network", "networks", multiple=True, default=["preact20"], help="As in the zoo; may be repeated."
)
@checkpoint_option
@click.option("--repetitions", type=_COUNT, default=10, help="Of each network.")
@click.option(
    "--fewer",
    multiple=True,
    metavar="NETWORK=N",
    callback=read_pairs,
    help="Repetitions of a large network, as NETWORK=N; may be repeated.",
)
@run_options("paths_and_lesions")
def main(
    data: str,
    data_name: str | None,
    networks: tuple[str, ...],
    checkpoints: dict[str, str],
    repetitions: int,
    fewer: dict[str, str],
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Measure paths and lesions of untrained and trained networks."""
    torch.set_num_threads(threads)
    images = Images(data, data_name)
    with in_one_line():
        paths: dict[Case, Record] = {}
        lesions: dict[Case, Record] = {}
        for network in networks:
            weights = [
                None,
                *(load_checkpoint(path) for name, path in checkpoints.items() if name == network),
            ]
            for checkpoint in weights:
                case = Case(network, checkpoint)
                found = []
                for repetition in range(int(fewer.get(network, repetitions))):
                    click.echo(f"{case.title}, repetition {repetition}", err=True)
                    found.append(measure(case, repetition, images, work, redraw=redraw))
                paths[case] = Record.concat([of_paths for of_paths, _ in found])
                lesions[case] = Record.concat([of_lesions for _, of_lesions in found])
        errors = {case: trained_error(case, images, work) for case in paths if case.checkpoint is not None}
        write_report(paths, lesions, errors, images.shown, out, redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


def write_report(
    paths: dict[Case, Record],
    lesions: dict[Case, Record],
    errors: dict[Case, float],
    data: str,
    out: Path,
    *,
    redraw: bool,
) -> None:
    """Write figures, numbers, provenance and the page to `out`.

    Raises:
        RecordError: if `out` cannot be written.
    """
    labels = [case.title for case in paths]
    averaged = [
        coloured(plots.networks_from(list(records.values()), labels), together=True)
        for records in (paths, lesions)
    ]
    figures = {"paths": plots.plot_paths(averaged[0]), "lesions": plots.plot_lesions(averaged[1])}
    tables = {
        f"{name}.csv": to_csv(pd.concat([getattr(one, name).assign(network=one.label) for one in networks]))
        for name, networks in zip(figures, averaged, strict=True)
    }
    records = [*paths.values(), *lesions.values()]
    told = provenance.describe(
        ["python", *sys.argv],
        records,
        data=data,
        seeds={case.title: ", ".join(map(str, record.meta["seeds"])) for case, record in paths.items()},
    )
    told["checkpoints"] = {
        case.network: record.meta["checkpoint"]
        for case, record in paths.items()
        if case.checkpoint is not None
    }
    networks_of = dict(zip(lesions, averaged[1], strict=True))
    page = write_page(paths, lesions, networks_of, errors)
    write_result(out, Result(figures, tables, told, page), redraw=redraw)


if __name__ == "__main__":
    main()
