"""The options that analyses share: which images, on how many threads, and where things go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

COUNT = click.IntRange(min=1)


def image_options(command: Command) -> Command:
    """Give a command the options that say which images."""
    named = click.option("--data-name", help="What a folder of images is called in the output.")
    return click.option("--data", required=True, help="Images: folder:PATH, cifar10, synthetic, …")(
        named(command)
    )


def read_pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read `NETWORK=…`, several times.

    Raises:
        BadParameter: if one is no pair.
    """
    pairs = {}
    for value in values:
        network, equals, what = value.partition("=")
        if not (network and equals and what):
            raise click.BadParameter(f"'{value}' is no pair; expected {param.metavar}", ctx, param)
        pairs[network] = what
    return pairs


def checkpoint_option(command: Command) -> Command:
    """Give a command --checkpoint, trained weights of networks."""
    return click.option(
        "--checkpoint",
        "checkpoints",
        multiple=True,
        callback=read_pairs,
        metavar="NETWORK=FILE",
        help="Trained weights of a network, which is measured beside the untrained ones; may be repeated.",
    )(command)


def run_options(name: str, *, threads: int = 1, out: str | None = None) -> Callable[[Command], Command]:
    """Give a command the options of a run: --threads, --work, --out and --redraw.

    Args:
        name: of the analysis, and of its directories in `runs/` and `reports/`.
        threads: that torch uses if nothing else is asked for.
        out: what the help says of --out where its default depends on other options, which the
            command then sees as None.
    """
    folder = click.Path(file_okay=False, path_type=Path)

    def give(command: Command) -> Command:
        where = {"default": Path("reports") / name} if out is None else {}
        for option in (
            click.option(
                "--redraw",
                is_flag=True,
                help="Measure nothing: draw and word anew what was measured; no number may change.",
            ),
            click.option("--out", type=folder, help=out or "Where the result goes.", **where),
            click.option(
                "--work", type=folder, default=Path("runs") / name, help="Where measurements are kept."
            ),
            click.option("--threads", type=COUNT, default=threads, help="Threads that torch uses."),
        ):
            command = option(command)
        return command

    return give
