"""The paper's CIFAR tables, trained in full: a queue that works in slices, and its table of results.

Each slice goes on where the last one ended, and writes the table anew; what has not been run is
said there:

    python analyses/full_runs.py --minutes 30 --data cifar10 --download
    python analyses/full_runs.py --minutes 0          # the table alone
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parent))  # scripts are run by path, and share modules

from full_training.page import table_page
from full_training.published import QUEUE
from full_training.running import Progress, Queue, read_progress
from provenance import describe_machine, to_json, write_output

from gradflow.data import open_data
from gradflow.errors import GradflowError


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0), required=True, help="Length of this slice.")
@click.option("--data", default="cifar10", show_default=True, help="As for gradflow train.")
@click.option("--data-name", help="As for gradflow train.")
@click.option("--download", is_flag=True, help="Fetch the data where they are missing.")
@click.option("--recipe", default="he2016", show_default=True, help="As for gradflow train.")
@click.option("--iterations", type=click.IntRange(min=1), help="As for gradflow train.")
@click.option("--device", type=click.Choice(("cuda", "cpu")), default="cuda", show_default=True)
@click.option("--pack", type=click.IntRange(min=1), help="Runs at a time. [default: what is fastest, tried]")
@click.option("--only", multiple=True, help="Names of runs; all unless given.")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/full"))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path("reports/full_runs"))
def main(
    minutes: float,
    data: str,
    data_name: str | None,
    download: bool,
    recipe: str,
    iterations: int | None,
    device: str,
    pack: int | None,
    only: tuple[str, ...],
    runs: Path,
    out: Path,
) -> None:
    """Work on the queue for so many minutes, and write the table of what there is.

    Raises:
        UsageError: if --only names no run.
        ClickException: if the data are missing, or a run ends with an error.
    """
    unknown = set(only) - {entry.name for entry in QUEUE}
    if unknown:
        raise click.UsageError(f"no run is called {', '.join(sorted(unknown))}")
    options = [f"--data={data}", f"--recipe={recipe}", f"--device={device}"]
    options += ["--test-every=1000", "--checkpoint-every=500", "--probe-every=500", "--check-every=8000"]
    options += [f"--data-name={data_name}"] if data_name else []
    options += [f"--iterations={iterations}"] if iterations else []
    entries = [entry for entry in QUEUE if not only or entry.name in only]
    runs.mkdir(parents=True, exist_ok=True)
    failure: GradflowError | None = None
    try:
        if download:
            open_data(data, download=True)  # before several runs would do it side by side
        if minutes > 0:
            Queue(runs, tuple(options)).work(entries, minutes, pack)
    except GradflowError as error:
        failure = error  # the table is of what there is, nevertheless
    progress = {}
    for entry in QUEUE:
        try:
            progress[entry.name] = read_progress(runs / entry.name)
        except GradflowError as error:  # a damaged run is not there; the others are
            progress[entry.name], failure = Progress(), failure or error
    provenance = describe_machine([Path(sys.argv[0]).name, *sys.argv[1:]])
    page = table_page(QUEUE, progress, provenance)
    write_output(out, {"README.md": page.encode(), "provenance.json": to_json(provenance)})
    print(page)
    if failure is not None:
        raise click.ClickException(str(failure)) from failure


if __name__ == "__main__":
    main()
