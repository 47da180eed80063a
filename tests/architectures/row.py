"""What a row of the table of public architectures says, and the parts that rows are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from gradflow.determinism import seeded
from gradflow.units import Inputs

Kinds = Mapping[str, int]
"""How many units there are of each kind: its shortcut, or `h>f` with what follows the addition."""

NO_PARAMETERS = "neither operand passes parameters of its own"
NO_ORIGIN = "its operands do not come from one tensor"
ONE_SPLIT = "its operands come from different outputs of one operation"
TWO_BRANCHES = "both operands are branches"
EQUALLY_LONG = "both operands are equally long"
ONLY_SCALES = "the longer operand only scales and shifts the shorter one"
INTO_A_VIEW = "it adds in place into a view"
THIRD_OPERAND = "it adds a third operand"
WITHOUT_GRADIENTS = "it runs without gradients"
POSITIONS = "its shorter operand is a parameter that the branch adds, too"
COUPLED = "the branch reads the sum of another stream"
RECURRENCE = "a recurrence"
NO_WAY = "the shorter operand has no way of its own to the fork"
A_CONSTANT = "an operand needs no gradient"
ONE_LINEAR_MAP = "both operands are linear in one tensor"
PYRAMID = "the longer operand comes back from a coarser resolution"
A_SAMPLE = "a mean and a standard deviation times noise"
A_PRODUCT = "both operands are branches: the shorter one holds a product of values"
A_GATE = "what its operands share is a gate"


@dataclass(frozen=True)
class Full:
    """The network that people use, of which only the number and shortcuts of its units are counted.

    Attributes:
        name: as its library calls it.
        build: makes the model; it is called for the meta device, where no number is computed.
        inputs: makes what the model is called with.
        units: how many units of each shortcut the source says that there are.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    units: Kinds


@dataclass(frozen=True)
class Architecture:
    """One architecture of the table.

    Attributes:
        name: what users call it.
        source: where its blocks are written.
        how: how the units are counted by reading that source.
        build: makes a network of it with few and narrow units, in training mode, in float32.
        inputs: makes what that network is called with.
        units: how many units of each kind, `h` or `h>f`, that network has; h>identity is written h.
        full: the network that people use; None where `build` makes it.
        passed_over: beginnings of the reasons for which other additions are passed over; no other
            reason is given, and each of these is.
        single_precision: what the network computes in float32 whatever its own type is; empty if nothing.
        unsupported: what is residual and not found, in words; empty if nothing is.
    """

    name: str
    source: str
    how: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    units: Kinds
    full: Full | None = None
    passed_over: tuple[str, ...] = ()
    single_precision: str = ""
    unsupported: str = ""


def images(side: int = 32, batch: int = 4) -> Callable[[], Tensor]:
    """Return a maker of square images of noise."""
    return lambda: torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def tokens(*names: str, vocabulary: int = 40, length: int = 8) -> Callable[[], dict[str, Tensor]]:
    """Return a maker of random tokens, one batch for each argument of the model."""

    def make() -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(1)
        return {name: torch.randint(1, vocabulary, (2, length), generator=generator) for name in names}

    return make


def library(name: str) -> Any:
    """Return a library that only tests need; a test is skipped where it is not installed."""
    import pytest  # the documentation's page is made from this table without it

    return pytest.importorskip(name)


def seeding(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return `build` with the same initial weights on every call."""

    def built() -> nn.Module:
        with seeded(0):
            return build()

    return built


def from_timm(make: Callable[[Any], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder that calls `make` with the library timm; its test is skipped without timm."""
    return seeding(lambda: make(library("timm")))


def from_transformers(make: Callable[[Any], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder that calls `make` with transformers; its test is skipped without transformers."""
    return seeding(lambda: make(library("transformers")))


def torchvision_full(name: str, units: Kinds, side: int = 224, on: str = "meta") -> Full:
    """Return a network of torchvision's; some compute their widths with tensors, which takes a CPU."""

    def build() -> nn.Module:
        with torch.device(on):
            return torchvision.models.get_model(name, weights=None).to("meta")

    return Full(f"torchvision:{name}", build, images(side), units)


def timm_full(name: str, units: Kinds, side: int = 224) -> Full:
    """Return a network of timm's."""
    return Full(
        f"timm:{name}",
        lambda: library("timm").create_model(name, pretrained=False),
        images(side),
        units,
    )


def transformers_full(
    name: str, make: Callable[[Any], nn.Module], inputs: Callable[[], Inputs], units: Kinds
) -> Full:
    """Return a network of transformers', from the defaults of its configuration."""
    return Full(name, lambda: make(library("transformers")), inputs, units)
