"""`gradflow show`: a run in the terminal, without measuring anything. Loads no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradflow.cli.options import FORMAT_OPTION
from gradflow.errors import RecordError

if TYPE_CHECKING:
    from gradflow.record import Record


@click.command("show")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--checks", is_flag=True, help="The checks of equations in place of the units.")
@click.option("--all-units", is_flag=True, help="A line a unit, however many there are.")
@FORMAT_OPTION
def command(run: Path, checks: bool, all_units: bool, form: str) -> None:
    """Print what a run holds: its units, of many a line a stage, or its checks.

    RUN is a record's directory. Of a training run the last iteration is shown, or that of RUN@ITERATION.

    \b
      gradflow show runs/preact164-1
      gradflow show runs/preact1001-1 --all-units
      gradflow show runs/preact164-1 --format csv > units.csv
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    from gradflow.cli.printing import print_checks, print_units
    from gradflow.record import TABLES, load_record
    from gradflow.statistics import last_iteration

    record = load_record(run)
    last: dict[str, Any] = {table: last_iteration(getattr(record, table)) for table in TABLES}
    record = replace(record, **last)
    if checks:
        _require_checks(record, run)
        print_checks(record, form)
    else:
        print_units(record, form, folded=not all_units)


def _require_checks(record: Record, run: Path) -> None:
    """Insist on checks.

    Raises:
        RecordError: if there are none.
    """
    if record.checks.empty:
        raise RecordError(f"'{run}' holds no checks; make a run that does with: gradflow check")
