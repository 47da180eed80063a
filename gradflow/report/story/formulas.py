"""The paper's equations, typeset as MathML, which browsers draw themselves."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree as ET

from latex2mathml.converter import convert
from markupsafe import Markup

from gradflow.statements import EQUATIONS, Equation

_MATHML = "{http://www.w3.org/1998/Math/MathML}"
_LARGE = {"∑", "∏"}


@cache
def equation(number: str, form: str) -> Markup:
    """Return the equation `number` in one of its forms, as a block with its number.

    Raises:
        LookupError: if there is none.
    """
    found = _find(number, form)
    label = f"({number})" if number.isdigit() else ""
    return Markup(
        '<div class="equation"><div class="math">{}</div><span class="label">{}</span></div>'
    ).format(_mathml(found.latex, found.formula, "block"), label)


@cache
def inline(latex: str) -> Markup:
    """Return LaTeX typeset in a line of text."""
    return _mathml(latex, latex, "inline")


@cache
def block(latex: str) -> Markup:
    """Return LaTeX typeset in a block of its own, without a number."""
    return Markup('<div class="equation"><div class="math">{}</div></div>').format(
        _mathml(latex, latex, "block")
    )


def _find(number: str, form: str) -> Equation:
    for one in EQUATIONS:
        if (one.number, one.form) == (number, form):
            return one
    raise LookupError(f"no equation {number} ({form})")


def _mathml(latex: str, alternative: str, display: str) -> Markup:
    root = ET.fromstring(convert(latex, display=display))
    root.set("alttext", alternative)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_MATHML)  # HTML knows <math> without its namespace
        if display == "block" and element.tag == "msubsup" and element[0].text in _LARGE:
            element.tag = "munderover"  # the converter forgets this inside brackets
    return Markup(ET.tostring(root, encoding="unicode"))
