"""One colour a network throughout the analyses' figures, and other colours for what is no network.

A network's colour is its family's: pre-activation, post-activation or plain. Within a family depth and
training are told apart by the line's style. What varies inside one network (λ, a gate's bias, an activation,
a stage) has colours that no network has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gradflow.plots import Network, network_colour

Dashes = str | tuple[int, tuple[float, ...]]

FAMILIES = ("preact", "resnet", "plain", "scaled", "rezero")
"""In the order of their colours; the last two are pre-activation networks with scaled branches."""

_DASHES: tuple[Dashes, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (9, 2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")

VARIANTS = ("#7a4fc0", "#b5338a", "#8a6d00", "#5b7083", "#a8542f", "#3d7f86")
"""At least 3:1 against the page, in light and in dark, which exchanges the networks' colours alone."""


def colour_of(network: str) -> str:
    """Return the colour of a network of the zoo, by the family that its name begins with.

    Raises:
        LookupError: if it is of no family.
    """
    for index, family in enumerate(FAMILIES):
        if network.startswith(family):
            return network_colour(index)
    raise LookupError(f"no colour for the network '{network}'")


def dashes_of(number: int) -> Dashes:
    """Return the line style of the member `number` of a family, or of the variants of a network."""
    return _DASHES[number % len(_DASHES)]


def variant_style(number: int) -> dict[str, Any]:
    """Return the colour, line style and marker of the variant `number` of something; all three differ."""
    return {
        "color": VARIANTS[number % len(VARIANTS)],
        "linestyle": dashes_of(number),
        "marker": _MARKERS[number % len(_MARKERS)],
    }


def coloured(networks: Sequence[Network], *, together: bool) -> list[Network]:
    """Return `networks` in their colours.

    Args:
        networks: labelled by their names in the zoo, after which a comma may come.
        together: whether all are drawn into the same axes, so that members of a family need line styles.
    """
    members: dict[str, int] = {}
    found = []
    for network in networks:
        colour = colour_of(network.label)
        number = members.setdefault(colour, 0)
        members[colour] += 1
        found.append(replace(network, colour=colour, dashes=dashes_of(number) if together else "-"))
    return found
