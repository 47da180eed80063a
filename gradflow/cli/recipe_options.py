"""Options of `gradflow train` that choose a recipe and override its fields."""

from __future__ import annotations

import re
from typing import Any

import click

from gradflow.cli.options import FiniteRange


def read_drops(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read `32000,48000`: iterations after which the learning rate drops, in order; `none` for no drop.

    Raises:
        BadParameter: if they are none.
    """
    if value is None:
        return None
    if value == "none":
        return ()
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", value):
        raise click.BadParameter(
            f"'{value}' is no list of iterations; expected 32000,48000 or none", ctx, param
        )
    drops = tuple(int(drop) for drop in value.split(","))
    if list(drops) != sorted(set(drops)):
        raise click.BadParameter(f"'{value}' is not in order; expected 32000,48000", ctx, param)
    return drops


_COUNT = click.IntRange(min=1)
_POSITIVE = FiniteRange(min=0, min_open=True)
_RECIPES = " [default: the recipe's]"

OVERRIDES = (
    click.option(
        "--batch-size", metavar="N", type=_COUNT, help="Images an iteration, of all processes." + _RECIPES
    ),
    click.option(
        "--accumulate",
        metavar="N",
        type=_COUNT,
        help="Parts in which a batch is run, to save memory." + _RECIPES,
    ),
    click.option("--learning-rate", metavar="X", type=_POSITIVE, help="Before the first drop." + _RECIPES),
    click.option(
        "--warmup", metavar="N", type=click.IntRange(min=0), help="Iterations of warm-up." + _RECIPES
    ),
    click.option(
        "--warmup-learning-rate", metavar="X", type=_POSITIVE, help="Learning rate in warm-up." + _RECIPES
    ),
    click.option(
        "--drops",
        metavar="LIST",
        callback=read_drops,
        help="Iterations after which the learning rate drops, 32000,48000, or none." + _RECIPES,
    ),
    click.option(
        "--drop-factor", metavar="X", type=_POSITIVE, help="What a drop multiplies it by." + _RECIPES
    ),
    click.option(
        "--momentum", metavar="X", type=FiniteRange(0, 1, max_open=True), help="Momentum." + _RECIPES
    ),
    click.option("--nesterov/--no-nesterov", default=None, help="Nesterov's momentum." + _RECIPES),
    click.option(
        "--weight-decay", metavar="X", type=FiniteRange(min=0), help="Of every parameter." + _RECIPES
    ),
    click.option(
        "--padding",
        metavar="N",
        type=click.IntRange(min=0),
        help="Zeros around an image that is cropped." + _RECIPES,
    ),
    click.option("--flip/--no-flip", default=None, help="Mirror every second image, at random." + _RECIPES),
    click.option(
        "--normalisation",
        type=click.Choice(("pixel-mean", "per-channel")),
        help="Subtract each pixel's mean, or each channel's and divide by its deviation." + _RECIPES,
    ),
)

RECIPE_OPTIONS = (
    click.option(
        "--recipe",
        metavar="NAME",
        default="he2016",
        show_default=True,
        help="he2016 (the paper's, 64,000 iterations), he2016-short (the same, compressed to --iterations), "
        "or torch2016 (the authors' Lua trainer, 164 epochs).",
    ),
    click.option(
        "--iterations",
        metavar="N",
        type=_COUNT,
        help="How long to train; he2016-short is compressed to it, other recipes end there."
        " [default: the recipe's; 4,000 for he2016-short]",
    ),
    click.option("--epochs", metavar="N", type=_COUNT, help="The same, in epochs."),
    *OVERRIDES,
)


OVERRIDDEN = (
    *("batch_size", "accumulate", "learning_rate", "warmup", "warmup_learning_rate", "drops"),
    *("drop_factor", "momentum", "nesterov", "weight_decay", "padding", "flip", "normalisation"),
)
"""Fields of a recipe that have an option of their name."""


def recipe_overrides(options: dict[str, Any]) -> dict[str, Any]:
    """Take the fields of the recipe out of `options`, and return those that were given."""
    taken = {name: options.pop(name) for name in OVERRIDDEN}
    return {name: value for name, value in taken.items() if value is not None}
