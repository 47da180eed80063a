"""Training runs and their weights, and probes of the trained networks beside untrained ones.

Give it the directories that `gradflow train` has written; the weights that it keeps are checkpoints for
`gradflow probe`:

    python analyses/training_runs.py --run runs/preact20 --run runs/resnet20 \
        --data folder:PATH --data-name cifar10-jpeg75
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

import pandas as pd
import provenance
import torch
from common.colours import coloured
from common.images import Images
from common.options import COUNT, image_options, run_options
from common.refusal import in_one_line
from common.tables import to_csv
from common.writing import Result, write_result
from trained.measuring import measure
from trained.page import write_page
from trained.runs import Run, read_run
from trained.summary import curves, summarise_all

from gradflow import plots
from gradflow.record import Record


@click.command(context_settings={"show_default": True})
@click.option(
    "--run",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory of gradflow train; may be repeated.",
)
@image_options
@click.option("--seeds", type=COUNT, default=10, help="Batches, and initialisations.")
@click.option("--batch-size", type=COUNT, default=32, help="Images a batch.")
@run_options("training_runs", threads=2)
def main(
    folders: tuple[Path, ...],
    data: str,
    data_name: str | None,
    seeds: int,
    batch_size: int,
    threads: int,
    work: Path,
    out: Path,
    redraw: bool,
) -> None:
    """Keep runs' weights and curves, and probe the networks trained and untrained."""
    torch.set_num_threads(threads)
    images = Images(data, data_name)
    with in_one_line():
        runs = [read_run(folder) for folder in folders]
        probes = {}
        for run in runs:
            for trained in (False, True):
                click.echo(f"{run.network}, {'trained' if trained else 'untrained'}", err=True)
                probes[run.network, trained] = measure(
                    run, images, seeds, batch_size, work, trained=trained, redraw=redraw
                )
        write_report(runs, probes, images.shown, out, redraw=redraw)
    click.echo(f"wrote {out / 'README.md'}")


def write_report(
    runs: list[Run], probes: dict[tuple[str, bool], Record], data: str, out: Path, *, redraw: bool
) -> None:
    """Write weights, figures, numbers, provenance and the page to `out`.

    Raises:
        RecordError: if `out` cannot be written.
    """
    names = [f"{network}, {'trained' if trained else 'untrained'}" for network, trained in probes]
    networks = plots.networks_from(list(probes.values()), names)
    trained = plots.networks_from([run.record for run in runs], [run.network for run in runs])
    figures = {
        "training": plots.plot_training(coloured(trained, together=False)),
        "gradient_norm": plots.plot_gradient_norm(coloured(networks, together=True)),
        "backward": plots.plot_backward(coloured(networks, together=False)),
    }
    summaries = summarise_all(probes)
    tables = {
        "curves.csv": to_csv(curves(runs)),
        "units.csv": to_csv(pd.concat([one.units.assign(network=one.label) for one in networks])),
        "changes.csv": to_csv(pd.DataFrame(summaries)),
    }
    told = provenance.describe(
        ["python", *sys.argv],
        [*probes.values(), *(run.record for run in runs)],
        data=data,
        seeds={
            name: ", ".join(map(str, record.meta["seeds"]))
            for name, record in zip(names, probes.values(), strict=True)
        },
    )
    told["runs"] = {run.network: run.training | {"command": run.record.meta["command"]} for run in runs}
    weights = {f"{run.network}.pt": run.weights for run in runs}
    page = write_page(runs, probes, summaries, data)
    write_result(out, Result(figures, tables, told, page, weights), redraw=redraw)


if __name__ == "__main__":
    main()
