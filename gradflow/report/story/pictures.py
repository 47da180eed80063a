"""The analyses' figures, put into the page as they were written.

A figure is a file like any other, so nothing but drawing is let into the page: a file with a script, an event
handler or a reference to elsewhere in it is refused.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from markupsafe import Markup

from gradflow.report.inline_svg import inline_svg
from gradflow.report.story.sources import Analysis

_DRAWING = frozenset(
    [
        "svg",
        "g",
        "defs",
        "path",
        "text",
        "tspan",
        "use",
        "clipPath",
        "rect",
        "style",
        "image",
        "line",
        "polyline",
        "polygon",
        "circle",
        "ellipse",
        "title",
        "desc",
        "linearGradient",
        "radialGradient",
        "stop",
        "pattern",
        "mask",
        "marker",
        "symbol",
    ]
)
_SVG = "{http://www.w3.org/2000/svg}"
_METADATA = f"{_SVG}metadata"

ET.register_namespace("", _SVG.strip("{}"))
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")

_IMAGE = re.compile(r"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]*\Z")
_REACHES_OUT = re.compile(r"@import|expression\s*\(|javascript:|url\(\s*['\"]?(?!#)", re.IGNORECASE)


def picture(analysis: Analysis, name: str, alt: str) -> Markup:
    """Return the figure in the SVG file `name` of `analysis`, for inside HTML.

    Args:
        analysis: whose.
        name: of the file, without its ending.
        alt: what the figure shows, for those who do not see it.

    Raises:
        RecordError: if there is none, or something that is no drawing is in it.
    """
    file = f"{name}.svg"
    try:
        content = (analysis.folder / file).read_bytes()
    except OSError as error:
        raise analysis.damaged(file, error.strerror or "it cannot be read") from error
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, ValueError) as error:
        raise analysis.damaged(file, f"no SVG: {error}") from error
    for metadata in root.findall(_METADATA):
        root.remove(metadata)
    if why := _foreign(root):
        raise analysis.damaged(file, f"it holds {why}, which no figure has")
    # Written anew from what was checked: entities, comments and CDATA cannot mean another thing to a browser.
    checked = ET.tostring(root, encoding="utf-8")
    return Markup(inline_svg(checked, f"{analysis.source.key}-{name}", alt))


def _foreign(root: ET.Element) -> str:
    """Return what in a drawing is none, in words; nothing if all is well."""
    if root.tag != f"{_SVG}svg":
        return f"<{root.tag}>"
    waiting = [root]
    while waiting:
        element = waiting.pop()
        name = str(element.tag).removeprefix(_SVG)
        if name not in _DRAWING:
            return f"<{name}>"
        if name == "style" and _REACHES_OUT.search(element.text or ""):
            return "a style that reaches out of the page"
        for attribute, value in element.attrib.items():
            bare = attribute.rpartition("}")[2].lower()
            if bare.startswith("on"):
                return f"the event handler {bare}"
            if bare == "href" and not (value.startswith("#") or _IMAGE.match(value)):
                return "a link"
            if _REACHES_OUT.search(value):
                return f"{bare}, which reaches out of the page"
        waiting.extend(element)
    return ""
