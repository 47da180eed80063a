"""The options that commands share, and how their values are read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

BN_MODES = ("batch", "running", "frozen")
DTYPES = ("float32", "float64", "bfloat16")
DEVICES = ("auto", "cpu", "cuda")
FORMATS = ("table", "json", "csv")


class FiniteRange(click.FloatRange):
    """A `FloatRange` that takes neither NaN, which no bound refuses, nor infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number.

        Raises:
            BadParameter: if it is none, is not finite, or lies outside the range.
        """
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            raise click.BadParameter(f"{number} is not a finite number", ctx, param)
        return number


def read_shape(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read `3,224,224`, the shape of one sample.

    Raises:
        BadParameter: if it is none.
    """
    if value is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", value):
        raise click.BadParameter(
            f"'{value}' is no shape; expected positive integers such as 3,224,224", ctx, param
        )
    return tuple(int(length) for length in value.split(","))


def read_numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read `0-9` or `0,3,5`: several numbers, in the order given, each once.

    Raises:
        BadParameter: if there is none, or a range has no end above its beginning.
    """
    if value is None:
        return None
    numbers: dict[int, None] = {}
    for part in value.split(","):
        ends = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part.strip())
        if ends is None:
            raise click.BadParameter(f"'{value}' is no list of numbers; expected 0-9 or 0,3,5", ctx, param)
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if not first <= last < first + 100_000:
            raise click.BadParameter(f"'{part}' is no range; expected the lower end first", ctx, param)
        numbers |= dict.fromkeys(range(first, last + 1))
    return tuple(numbers)


def read_regex(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check a regular expression here rather than after the network was built.

    Raises:
        BadParameter: if it is none.
    """
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise click.BadParameter(f"'{value}' is no regular expression: {error}", ctx, param) from error
    return value


FORMAT_OPTION = click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="What is printed to standard output; messages go to standard error.",
)

NETWORK_OPTIONS = (
    click.option(
        "--model",
        "spec",
        metavar="SPEC",
        required=True,
        help="A zoo name (preact164, resnet56, plain20; see gradflow models), torchvision:NAME, "
        "timm:NAME, or package.module:callable.",
    ),
    click.option(
        "--shortcut",
        metavar="KIND",
        help="Zoo only: identity, scale:0.5, scale:0.5,0.5, gate:exclusive,-6, gate:shortcut,-6, "
        "conv, dropout:0.5, dropout:0.5,unscaled or none.",
    ),
    click.option(
        "--activation",
        metavar="KIND",
        help="Zoo only: original, bn-after, relu-before, relu-only or full-preact.",
    ),
    click.option(
        "--width",
        metavar="N",
        type=click.IntRange(min=1),
        help="Zoo only: channels of the first stage's 3×3 convolutions. [default: 16]",
    ),
    click.option(
        "--num-classes",
        metavar="N",
        type=click.IntRange(min=1),
        help="Outputs of the network. [default: what the data has]",
    ),
    click.option(
        "--input-shape", metavar="C,H,W", callback=read_shape, help="Shape of one image. [default: 3,32,32]"
    ),
)
"""Which network."""

DATA_OPTIONS = (
    click.option("--download", is_flag=True, help="Fetch cifar10 or cifar100 where they are missing."),
    click.option(
        "--data-name",
        metavar="NAME",
        help="What a record calls the images of folder:PATH. [default: the folder's own name]",
    ),
)
"""How data are got and called."""

UNITS_OPTION = click.option(
    "--units",
    metavar="REGEX",
    callback=read_regex,
    help="Name the blocks outright, by a regular expression for whole module names.",
)

_OPTIONS = (
    *NETWORK_OPTIONS,
    click.option(
        "--checkpoint",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Weights: a .pt, .pth or .safetensors file. Without it the network is untrained.",
    ),
    # The data.
    click.option(
        "--data",
        "data",
        metavar="DATA",
        help="synthetic, cifar10, cifar100, folder:PATH, or package.module:callable. "
        "[default: what the checkpoint was trained on, else synthetic]",
    ),
    click.option(
        "--data-of",
        "data_of",
        metavar="PATH",
        type=click.Path(path_type=Path),
        help="Data as the training run of this checkpoint had them, normalised as there, for a network "
        "without its weights: an untrained one that a trained one is compared with.",
    ),
    click.option(
        "--split",
        type=click.Choice(("train", "test")),
        default="train",
        show_default=True,
        help="Which part of the data.",
    ),
    *DATA_OPTIONS,
    click.option(
        "--batch-size",
        metavar="N",
        type=click.IntRange(min=1),
        default=32,
        show_default=True,
        help="Samples in a batch; data of your own may have its own.",
    ),
    click.option(
        "--batches",
        metavar="N",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="How many batches; several give intervals.",
    ),
    # The measurement.
    click.option(
        "--bn",
        type=click.Choice(BN_MODES),
        default="batch",
        show_default=True,
        help="Batch normalisation: with the batch's statistics, with the running ones, or with "
        "the batch's held constant.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default="float32",
        show_default=True,
        help="In which network and inputs are.",
    ),
    click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where to measure; auto is a GPU where there is one.",
    ),
    click.option(
        "--seed",
        metavar="N",
        type=click.IntRange(min=0, max=10**18),
        help="Seed of untrained weights and of the order of the data. [default: 0]",
    ),
    click.option(
        "--seeds",
        metavar="LIST",
        callback=read_numbers,
        help="Several seeds, 0-9 or 0,3,5; several give intervals.",
    ),
    UNITS_OPTION,
    click.option(
        "--loss",
        metavar="PKG.MOD:CALLABLE",
        help="Called as loss(outputs, targets), or loss(outputs) without targets. [default: cross-entropy]",
    ),
    # The result.
    click.option(
        "--out",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Where the record goes. [default: the next free runs/<model>-<n>]",
    ),
    click.option("--force", is_flag=True, help="Replace the record in --out."),
    FORMAT_OPTION,
)


def measurement_options(command: Command) -> Command:
    """Give `command` every option that says what is measured, on what, and where the result goes."""
    return with_options(command, _OPTIONS)


def with_options(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Give `command` all of `options`, shown in their order."""
    for option in reversed(options):
        command = option(command)
    return command
