"""What a network of the zoo is called, and every choice that makes it.

A name is a family, a depth and, where the depth alone does not say it, a unit:
``preact164``, ``resnet110-single``. Depths are 3 stages of n units of k layers, one
convolution before them and one linear layer after: N = 3kn + 2 (He et al. 2016,
arXiv:1603.05027, section 3: 6n + 2 for basic units, 9n + 2 for bottlenecks).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from gradflow.errors import UnknownModelError
from gradflow.models.activations import ORDERINGS
from gradflow.models.shortcuts import ShortcutVariant

FAMILIES = {
    "preact": "full-preact",
    "resnet": "original",
    "plain": "original",
}
"""Each family's activation unless told otherwise: a key of `ORDERINGS`."""

LAYERS = {"single": 1, "basic": 2, "bottleneck": 3}
"""Convolutions in a unit's branch."""

MAX_DEPTH = 1202
"""The deepest network of the two papers."""

BOTTLENECK_FROM = 164
"""Where a depth fits both units, it is basic below this depth and bottleneck from it on."""

FORMS = "preact{N}, resnet{N} or plain{N}, torchvision:NAME, timm:NAME, package.module:callable"

_NAME = re.compile(r"(?P<family>[a-z]+)(?P<depth>\d+)(?:-(?P<unit>[a-z]+))?")


@dataclass(frozen=True)
class ModelSpec:
    """Every choice that makes a network of the zoo; equal specifications make equal bits.

    Attributes:
        family: `preact`, `resnet` or `plain`.
        depth: N, the number of layers with weights on the longest path.
        unit: `basic`, `bottleneck` or `single`.
        shortcut: variant of Table 1, as `--shortcut` takes it.
        activation: variant of Table 2, as `--activation` takes it.
        num_classes: outputs of the head.
        width: channels of the first stage's 3×3 convolutions; the stages have 1, 2 and 4 times as many.
        in_channels: channels of the images.
        seed: of the initial weights.
    """

    family: str
    depth: int
    unit: str
    shortcut: str = "identity"
    activation: str = "original"
    num_classes: int = 10
    width: int = 16
    in_channels: int = 3
    seed: int = 0

    @property
    def name(self) -> str:
        """The shortest zoo name: the unit is left out where the depth says it."""
        suffix = "" if self.unit == default_unit(self.depth) else f"-{self.unit}"
        return f"{self.family}{self.depth}{suffix}"

    @property
    def units_per_stage(self) -> int:
        """The n of N = 3kn + 2."""
        return (self.depth - 2) // (3 * LAYERS[self.unit])

    def options(self) -> str:
        """Return the command line's words for this network: its name, and what is not the default."""
        words = [self.name]
        if self.shortcut != ("none" if self.family == "plain" else "identity"):
            words.append(f"--shortcut {self.shortcut}")
        if self.activation != FAMILIES[self.family]:
            words.append(f"--activation {self.activation}")
        if self.num_classes != 10:
            words.append(f"--num-classes {self.num_classes}")
        if self.width != 16:
            words.append(f"--width {self.width}")
        if self.in_channels != 3:
            words.append(f"--input-shape {self.in_channels},32,32")
        return " ".join(words)


def parse_name(name: str) -> tuple[str, int, str]:
    """Split a zoo name into family, depth and unit.

    Raises:
        UnknownModelError: if the family or the unit is unknown, or the depth is not legal.
    """
    match = _NAME.fullmatch(name)
    if match is None or match["family"] not in FAMILIES:
        raise UnknownModelError(f"unknown model '{name}'{_did_you_mean(name)}; expected {FORMS}")
    family, depth, unit = match["family"], int(match["depth"]), match["unit"]
    if unit is not None and unit not in LAYERS:
        raise UnknownModelError(
            f"unknown model '{name}': its unit '{unit}' is none of {', '.join(LAYERS)}, "
            f"as in {family}110-basic"
        )
    chosen = unit or default_unit(depth)
    if chosen is None or not _is_legal(depth, chosen):
        raise UnknownModelError(_illegal_depth(name, family, depth, unit))
    return family, depth, chosen


def default_unit(depth: int) -> str | None:
    """Return the unit that a depth alone stands for, or None if it fits neither kind."""
    fitting = [unit for unit in ("basic", "bottleneck") if _is_legal(depth, unit)]
    if len(fitting) == 2:
        return "bottleneck" if depth >= BOTTLENECK_FROM else "basic"
    return fitting[0] if fitting else None


def make_spec(
    name: str,
    *,
    shortcut: str = "identity",
    activation: str | None = None,
    num_classes: int = 10,
    width: int = 16,
    in_channels: int = 3,
    seed: int = 0,
) -> ModelSpec:
    """Return the specification of a network of the zoo.

    Args:
        name: a zoo name.
        shortcut: variant of Table 1; `plain` networks have `none`, whatever is said.
        activation: variant of Table 2; None is the family's own.
        num_classes: outputs of the head.
        width: channels of the first stage's 3×3 convolutions.
        in_channels: channels of the images.
        seed: of the initial weights.

    Raises:
        UnknownModelError: if there is no such network; the message says what there is.
    """
    family, depth, unit = parse_name(name)
    variant = ShortcutVariant.parse(shortcut)
    if family == "plain":
        if variant.kind not in {"identity", "none"}:
            raise UnknownModelError(
                f"{name} has no shortcut, so shortcut='{shortcut}' is not possible; "
                f"take resnet{depth} --shortcut {shortcut}"
            )
        variant = ShortcutVariant("none")
    chosen = activation or FAMILIES[family]
    if chosen not in ORDERINGS:
        raise UnknownModelError(f"unknown activation '{chosen}'; expected one of {', '.join(ORDERINGS)}")
    if family == "preact" and chosen != FAMILIES[family]:
        raise UnknownModelError(
            f"{name} is full pre-activation by its name; take resnet{depth} --activation {chosen}"
        )
    for value, least, what in (
        (num_classes, 1, "num_classes"),
        (width, 1, "width"),
        (in_channels, 1, "in_channels"),
        (seed, 0, "seed"),
    ):
        if value < least:
            raise UnknownModelError(f"{name}: {what} is {value}; expected at least {least}")
    return ModelSpec(
        family=family,
        depth=depth,
        unit=unit,
        shortcut=str(variant),
        activation=chosen,
        num_classes=num_classes,
        width=width,
        in_channels=in_channels,
        seed=seed,
    )


def _is_legal(depth: int, unit: str) -> bool:
    step = 3 * LAYERS[unit]
    return step + 2 <= depth <= MAX_DEPTH and (depth - 2) % step == 0


def _illegal_depth(name: str, family: str, depth: int, unit: str | None) -> str:
    units = [unit] if unit else ["basic", "bottleneck"]
    legal = [N for N in range(MAX_DEPTH + 1) if any(_is_legal(N, kind) for kind in units)]
    below = max((N for N in legal if depth > N), default=None)
    above = min((N for N in legal if depth < N), default=None)
    suffix = f"-{unit}" if unit else ""
    nearest = " and ".join(f"{family}{N}{suffix}" for N in (below, above) if N is not None)
    rules = " or ".join(f"{3 * LAYERS[kind]}n+2 ({kind})" for kind in units)
    return f"{name}: no network has depth {depth}; legal are {rules} up to {MAX_DEPTH}, nearest {nearest}"


def _did_you_mean(name: str) -> str:
    family, *numbers = re.split(r"(\d+)", name, maxsplit=1)
    close = difflib.get_close_matches(family.lower().strip("-_ "), FAMILIES, n=1)
    return f" (did you mean '{close[0]}{''.join(numbers) or 164}'?)" if close else ""
