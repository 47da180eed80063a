"""`gradflow report`: a page of figures from records, or the story of the analyses. Loads no torch."""

from __future__ import annotations

from pathlib import Path

import click

from gradflow.cli.destinations import REPORTS, RUNS, require_writable
from gradflow.cli.messages import say
from gradflow.errors import IncompleteReportError, RecordError
from gradflow.wording import printable


@click.command("report")
@click.argument("runs", metavar="[RUN]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=REPORTS,
    show_default=True,
    help="Where the page and its figures go. Only files that a report wrote are replaced.",
)
@click.option(
    "--analyses",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Instead of runs: the paper's argument, told from what the scripts in analyses/ wrote to DIR.",
)
def command(runs: tuple[Path, ...], out: Path, analyses: Path | None) -> None:
    """Make one self-contained page with figures from probed runs, and print where it is.

    RUN is a record's directory, or a directory of records. Without one, every run under runs/ is
    shown. Several runs are drawn together: trained beside untrained, pre- beside post-activation.
    RUN@first, RUN@last and RUN@ITERATION are one iteration of a training run.

    \b
      gradflow report
      gradflow report runs/preact164-1 runs/resnet164-1 --out reports/pre-and-post
      gradflow report runs/mine@first runs/mine@last --out reports/mine
      gradflow report --analyses reports
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    if analyses is not None:
        tell_story(runs, analyses, out)
        return
    records = find_runs(runs or (RUNS,))
    require_writable(out)
    page = make_page(records, out)
    names = ", ".join(printable(run.name) for run in records)
    say(f"{len(records)} run{'s' if len(records) > 1 else ''}: {names}")
    click.echo(page)


def make_page(records: list[Path], out: Path) -> Path:
    """Write the report and return its page; where it could not show everything, print where it is first.

    Raises:
        IncompleteReportError: if the page does not show everything, which its exit status says too.
    """
    from gradflow.report import write_report

    try:
        return write_report(records, out)
    except IncompleteReportError as error:
        click.echo(error.page)
        raise


def tell_story(runs: tuple[Path, ...], analyses: Path, out: Path) -> None:
    """Write the story of the analyses in `analyses`, and print where it is.

    Raises:
        UsageError: if runs are named, too.
    """
    if runs:
        raise click.UsageError("--analyses takes no runs; make two reports")
    from gradflow.report.story import write_story

    require_writable(out)
    page, found, missing = write_story(analyses, out)
    say(f"{len(found)} analys{'es' if len(found) > 1 else 'is'}: {', '.join(found)}")
    if missing:
        say(f"not made, and said so on the page: {', '.join(missing)}")
    click.echo(page)


def find_runs(places: tuple[Path, ...]) -> list[Path]:
    """Return the records in or at `places`, each once.

    Raises:
        RecordError: if a place holds none.
    """
    from gradflow.record import find_records

    found: dict[Path, None] = {}
    for place in places:
        records = find_records(place)
        if not records:
            raise RecordError(f"no run in '{place}'; make one with: gradflow probe --model preact164")
        found |= dict.fromkeys(records)
    return list(found)
