"""SVG for inside a page: it takes the page's colours and font, and its ids clash with no other figure's."""

from __future__ import annotations

import re
from html import escape

from gradflow.plots.style import ALARM, BAND, GRID, INK, MUTED, NETWORK_COLOURS, PAPER

THEME = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    BAND: "--band",
    PAPER: "--paper",
    ALARM: "--alarm",
    **{colour: f"--network-{index}" for index, colour in enumerate(NETWORK_COLOURS)},
}
"""Colours of the figures and the page's variables that take their place."""

_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_TAG = re.compile(r"<[^>]*>")
_REFERENCE = re.compile(r'(?:href="#|url\(#)([^")]+)')
_ID = re.compile(r' id="([^"]*)"')


def inline_svg(svg: bytes, key: str, alt: str) -> str:
    """Return a figure's SVG for use inside HTML.

    Args:
        svg: what matplotlib wrote.
        key: the figure's name; it goes before every id.
        alt: what the figure shows, for those who do not see it.
    """
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = _TAG.sub(lambda tag: _NUMBER.sub(_rounded, tag[0]), text)
    referenced = set(_REFERENCE.findall(text))
    text = _ID.sub(lambda match: f' id="{key}-{match[1]}"' if match[1] in referenced else "", text)
    text = re.sub(r"((?:href=\"|url\()#)", rf"\1{key}-", text)
    text = re.sub(
        r"#[0-9a-f]{6}\b", lambda match: f"var({THEME[match[0]]})" if match[0] in THEME else match[0], text
    )
    text = re.sub(r"\n\s*", "\n", text)
    head, _, body = text.partition(">")
    view = re.search(r'viewBox="([^"]*)"', head)
    box = view[0] if view else ""
    title = f'<title id="{key}-title">{escape(alt, quote=False)}</title>'
    return f'<svg role="img" aria-labelledby="{key}-title" {box}>{title}{body}'


def _rounded(number: re.Match[str]) -> str:
    # A hundredth of a point is finer than any screen.
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
