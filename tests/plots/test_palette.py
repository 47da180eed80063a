"""The networks' colours: seen on paper, in the light and in the dark, and told apart by everybody.

What the colour-blind see is simulated as Machado, Oliveira and Fernandes (2009) have it for a complete lack
of one kind of cone; distances are those of OKLab (Ottosson 2020), in hundredths.
"""

from __future__ import annotations

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest
from numpy.typing import NDArray

from gradflow.plots.style import BAND, NETWORK_COLOURS, PAPER, diverging_colours

Array = NDArray[np.float64]

VISION: dict[str, list[list[float]]] = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no middle": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
OPPONENT = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
APART = 6.0
"""About three just noticeable differences."""


def linear(colour: str) -> Array:
    """Return red, green and blue of `#rrggbb` as light."""
    parts = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    light: Array = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return light


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.1 defines it."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def distance(one: str, other: str) -> float:
    """Return how far two colours are apart for whoever sees the least of it."""
    seen = [
        [
            OPPONENT @ np.cbrt(CONES @ np.clip(np.array(kind) @ linear(colour), 0, 1))
            for colour in (one, other)
        ]
        for kind in VISION.values()
    ]
    return min(100 * float(np.linalg.norm(first - second)) for first, second in seen)


def themes() -> dict[str, dict[str, str]]:
    """Return the page's colours by name, in the light and in the dark."""
    style = (files("gradflow.report") / "templates/style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[:2]
    found = {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text))
        for name, text in (("light", light), ("dark", dark))
    }
    return {"light": found["light"], "dark": found["light"] | found["dark"]}


THEMES = themes()


def networks(theme: str) -> list[str]:
    """Return the networks' colours of a theme."""
    return [THEMES[theme][f"network-{number}"] for number in range(8)]


def test_the_page_begins_with_the_figures_colours() -> None:
    """In the light the page shows the colours that the files beside it have."""
    assert tuple(networks("light")) == NETWORK_COLOURS
    assert THEMES["light"]["band"] == BAND


@pytest.mark.parametrize("theme", THEMES)
def test_lines_stand_out(theme: str) -> None:
    """On paper, a stage's band and the page, each line has the 3 to 1 that WCAG 2.1 (1.4.11) asks for."""
    grounds = [THEMES[theme][name] for name in ("paper", "band", "page")] + [PAPER] * (theme == "light")
    assert min(contrast(line, ground) for line in networks(theme) for ground in grounds) >= 3
    assert contrast("#56b4e9", BAND) < 3, "the control: Okabe and Ito's sky blue does not"


@pytest.mark.parametrize("theme", THEMES)
def test_colours_are_told_apart(theme: str) -> None:
    """Any two networks' colours differ, with whichever cones they are seen."""
    assert min(itertools.starmap(distance, itertools.combinations(networks(theme), 2))) >= APART
    assert distance("#009900", "#b35900") < APART < distance("#009900", "#0000b3"), (
        "the control: green and brown"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_scale_with_a_middle_has_colours_of_its_own(theme: str) -> None:
    """Its ends are told apart from each other and from every network; the middle fades into the page."""
    scale = diverging_colours(theme)  # type: ignore[arg-type]
    low, *_, high = scale
    assert distance(low, high) >= 2 * APART
    assert min(distance(end, line) for end in (low, high) for line in networks(theme)) >= APART / 1.5
    middle = scale[len(scale) // 2]
    assert contrast(middle, THEMES[theme]["paper"]) < 1.3
    assert min(contrast(end, middle) for end in (low, high)) >= 3
