"""`gradflow diff`: two runs beside each other, unit by unit, with intervals. Loads no torch."""

from __future__ import annotations

from pathlib import Path

import click

from gradflow.cli.comparison_table import print_comparison
from gradflow.cli.options import FORMAT_OPTION
from gradflow.comparison import QUANTITIES, compare_records
from gradflow.record import load_record


@click.command("diff")
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--quantity",
    type=click.Choice(QUANTITIES),
    default=QUANTITIES[0],
    show_default=True,
    help="The column that is compared; docs/record.md says what each is.",
)
@click.option("--all-units", is_flag=True, help="A line a unit, however many there are.")
@FORMAT_OPTION
def command(first: Path, second: Path, quantity: str, all_units: bool, form: str) -> None:
    """Compare two runs unit by unit, of many in a line a stage, and test how they differ along depth.

    A and B are directories of records, of a training run with @first, @last or @ITERATION behind it. Both
    must be of the same data, batch size, BN mode and loss. With ten seeds or more in each (gradflow probe
    --seeds 0-9) differences come with intervals and a test; batches of one network have intervals only.

    \b
      gradflow diff runs/preact164-1 runs/resnet164-1
      gradflow probe --model preact20 --data-of runs/mine/checkpoints/newest.pt --out runs/untrained
      gradflow probe --model preact20 --checkpoint runs/mine/checkpoints/newest.pt --out runs/trained
      gradflow diff runs/untrained runs/trained --quantity backward_shortcut_share --format json
      gradflow diff runs/mine@first runs/mine@last
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    found = compare_records(load_record(first), load_record(second), quantity)
    print_comparison(found, [place.resolve().name for place in (first, second)], form, folded=not all_units)
