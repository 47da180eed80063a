"""`gradflow paths`: gradient by length of path, saved in the network's record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gradflow.cli.options import measurement_options
from gradflow.cli.request import MeasurementRequest
from gradflow.importing import import_dependency

if TYPE_CHECKING:
    from gradflow.cli.preparing import Measurement
    from gradflow.record import Record


@click.command("paths")
@measurement_options
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Random paths of each length; where there are no more, every path is taken.",
)
@click.pass_context
def command(context: click.Context, /, samples: int, **options: Any) -> int:
    """Find how much of the gradient comes through paths of each length (Veit et al. 2016).

    The path takes the branch in k random units and the shortcut in all others; the forward pass is
    the whole network's. A path costs a backward pass through its branches.

    \b
      gradflow paths --model resnet56 --seeds 0-9
      gradflow paths --model preact110 --checkpoint ckpt.pt --split test
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    request = MeasurementRequest(**options)
    import_dependency("torch")
    words: tuple[str, ...] = context.find_root().obj or ()
    from gradflow.cli.measuring import measure_and_show
    from gradflow.cli.printing import print_paths

    def one_pass(one: Measurement) -> Record:
        from gradflow.paths import path_gradients

        return one.by(path_gradients, samples=samples, seed=one.seed)

    measure_and_show(request, words, "following paths through", one_pass, print_paths)
    return 0
