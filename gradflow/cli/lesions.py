"""`gradflow lesions`: what a network loses with its units, saved in its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gradflow.cli.options import measurement_options, read_numbers
from gradflow.cli.request import MeasurementRequest
from gradflow.importing import import_dependency

if TYPE_CHECKING:
    from gradflow.cli.preparing import Measurement
    from gradflow.record import Record


@click.command("lesions")
@measurement_options
@click.option(
    "--remove",
    metavar="LIST",
    callback=read_numbers,
    help="Leave out so many random units together, such as 2,5,10. [default: only each unit by itself]",
)
@click.option(
    "--exchange",
    metavar="LIST",
    callback=read_numbers,
    help="Exchange so many random pairs of units of one stage, such as 1,5,10. [default: none]",
)
@click.option(
    "--draws",
    metavar="N",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Random choices of each number.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    remove: tuple[int, ...] | None,
    exchange: tuple[int, ...] | None,
    draws: int,
    **options: Any,
) -> int:
    """Find how loss and error change when units are left out or exchanged (Veit et al. 2016).

    A unit is left out by leaving its branch out of its addition. The network is not edited. For the
    test error of a trained network give --split test --bn running and large batches.

    \b
      gradflow lesions --model preact110 --checkpoint ckpt.pt --split test --bn running --batch-size 500
      gradflow lesions --model plain20 --units 'stage\\d\\.\\d+' --remove 2,4 --exchange 1,2
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    request = MeasurementRequest(**options)
    import_dependency("torch")
    words: tuple[str, ...] = context.find_root().obj or ()
    from gradflow.cli.measuring import measure_and_show
    from gradflow.cli.printing import print_lesions

    def one_pass(one: Measurement) -> Record:
        from gradflow.paths import lesion

        return one.by(lesion, remove=remove or (), exchange=exchange or (), draws=draws, seed=one.seed)

    measure_and_show(request, words, "lesioning", one_pass, print_lesions)
    return 0
