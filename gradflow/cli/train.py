"""`gradflow train`: train by a recipe, with the gradient flow recorded alongside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gradflow.cli.failures import INTERRUPTED
from gradflow.cli.messages import say
from gradflow.cli.options import (
    DATA_OPTIONS,
    DEVICES,
    NETWORK_OPTIONS,
    UNITS_OPTION,
    FiniteRange,
    with_options,
)
from gradflow.cli.recipe_options import RECIPE_OPTIONS, recipe_overrides
from gradflow.cli.training_request import TrainingRequest
from gradflow.importing import import_dependency

_COUNT = click.IntRange(min=1)

_OPTIONS = (
    *NETWORK_OPTIONS,
    click.option(
        "--data",
        metavar="DATA",
        default="synthetic",
        show_default=True,
        help="synthetic, cifar10, cifar100, or folder:PATH.",
    ),
    *DATA_OPTIONS,
    *RECIPE_OPTIONS,
    click.option(
        "--probe-every",
        metavar="N",
        type=_COUNT,
        default=100,
        show_default=True,
        help="Iterations between probes; there is one before the first and after the last, too.",
    ),
    click.option(
        "--check-every",
        metavar="N",
        type=click.IntRange(min=0),
        default=1_000,
        show_default=True,
        help="Iterations between checks of the equations; 0 for none.",
    ),
    click.option(
        "--probe-batch-size",
        metavar="N",
        type=_COUNT,
        default=32,
        show_default=True,
        help="Training images that are probed, the same ones every time, neither cropped nor mirrored.",
    ),
    click.option(
        "--test-every",
        metavar="N",
        type=_COUNT,
        default=1_000,
        show_default=True,
        help="Iterations between runs of the test data; the last iteration has one, too.",
    ),
    click.option(
        "--checkpoint-every",
        metavar="N",
        type=_COUNT,
        default=1_000,
        show_default=True,
        help="Iterations between checkpoints, with which the record is written.",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where to train; auto is a GPU where there is one.",
    ),
    click.option(
        "--seed",
        metavar="N",
        type=click.IntRange(min=0, max=10**18),
        default=0,
        show_default=True,
        help="Of the initial weights, and of the data's order, crops and mirror images.",
    ),
    UNITS_OPTION,
    click.option("--resume", is_flag=True, help="Go on with the run in --out from its newest checkpoint."),
    click.option(
        "--stop-after",
        metavar="MINUTES",
        type=FiniteRange(min=0),
        help="End with a checkpoint after so many minutes, to be resumed later.",
    ),
    click.option("--quiet", is_flag=True, help="Say nothing on the way."),
    click.option(
        "--out",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="The run's directory. [default: the next free runs/<model>-<n>]",
    ),
)


def training_options(command: click.decorators.FC) -> click.decorators.FC:
    """Give `command` every option of a training run."""
    return with_options(command, _OPTIONS)


@click.command("train")
@training_options
@click.pass_context
def command(context: click.Context, /, **options: Any) -> int:
    """Train a network by a recipe, and record its gradient flow on the way.

    The run's directory holds the record (for gradflow report), checkpoints (for gradflow probe
    --checkpoint), and events for TensorBoard. Ctrl-C ends a run with a checkpoint. With
    torchrun, several processes train together: torchrun --nproc-per-node 2 -m gradflow train …

    \b
      gradflow train --model preact20 --recipe he2016-short --iterations 4000 --data cifar10 --download
      gradflow train --model preact20 --iterations 4000 --recipe he2016-short --out runs/mine --resume
      gradflow train --model resnet110 --data folder:images --learning-rate 0.05
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"
    overrides = recipe_overrides(options)
    request = TrainingRequest(**options, overrides=overrides)
    import_dependency("torch")
    words: tuple[str, ...] = context.find_root().obj or ()
    from gradflow.cli.training_run import run_training

    outcome = run_training(request, words)
    if outcome is None:  # process 0 of the job speaks
        return 0
    if not outcome.finished:
        again = f"continue with the same command and --out {outcome.out} --resume"
        say(f"stopped after iteration {outcome.iteration:,}; a checkpoint is in {outcome.out}; {again}")
        return 0 if outcome.on_time else INTERRUPTED
    click.echo(
        f"{request.spec}: test error {100 * outcome.test_error:.2f} % after {outcome.iteration:,} "
        f"iterations, least {100 * outcome.best_error:.2f} %"
    )
    say(f"saved to {outcome.out}; next: gradflow report {outcome.out}")
    return 0
