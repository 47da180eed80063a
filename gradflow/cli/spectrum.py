"""`gradflow spectrum`: singular values of Jacobians, saved in the network's record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gradflow.cli.check import read_spans
from gradflow.cli.options import measurement_options, read_numbers
from gradflow.cli.request import MeasurementRequest
from gradflow.importing import import_dependency

if TYPE_CHECKING:
    from gradflow.cli.preparing import Measurement
    from gradflow.record import Record


@click.command("spectrum")
@measurement_options
@click.option(
    "--branches",
    metavar="LIST",
    callback=read_numbers,
    help="Units whose branches are taken, 0-9 or 0,3,5. [default: all, or none if --spans is given]",
)
@click.option(
    "--spans",
    metavar="LIST",
    callback=read_spans,
    help="Spans l-L of unit numbers, such as 0-5,3-9. [default: the whole network, or none if --branches is "
    "given]",
)
@click.option(
    "--largest",
    metavar="N",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many of the largest singular values.",
)
@click.option(
    "--smallest",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="How many of the smallest; most are 0 behind a ReLU, and they converge slowly.",
)
@click.option(
    "--probes",
    metavar="N",
    type=click.IntRange(min=2),
    default=8,
    show_default=True,
    help="Random vectors for the mean squared singular value and its standard error.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    branches: tuple[int, ...] | None,
    spans: tuple[tuple[int, int], ...] | None,
    largest: int,
    smallest: int,
    probes: int,
    **options: Any,
) -> int:
    """Find the singular values of the Jacobians of branches, ∂F/∂x, and of spans, ∂x_L/∂x_l.

    No matrix is formed: a product costs some three backward passes through the branch or span, and
    the largest five take about fifty. They are those of the whole batch: with --bn frozen or
    running, of all its samples together; with --bn batch the samples are coupled.

    \b
      gradflow spectrum --model preact164 --batch-size 4 --bn frozen --branches 0,27,53
      gradflow spectrum --model resnet56 --spans 0-27
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    request = MeasurementRequest(**options)
    import_dependency("torch")
    words: tuple[str, ...] = context.find_root().obj or ()
    from gradflow.cli.measuring import measure_and_show
    from gradflow.cli.printing import print_singular_values

    given = branches is not None or spans is not None

    def one_pass(one: Measurement) -> Record:
        from gradflow.spectrum import singular_values

        return one.by(
            singular_values,
            branches=(branches or ()) if given else None,
            spans=(spans or ()) if given else None,
            largest=largest,
            smallest=smallest,
            probes=probes,
            seed=one.seed,
        )

    measure_and_show(request, words, "finding singular values of", one_pass, print_singular_values)
    return 0
