"""The paper's equations, typeset as MathML, which browsers draw themselves."""

from __future__ import annotations

from functools import cache
from xml.etree import ElementTree as ET

from latex2mathml.converter import convert
from markupsafe import Markup

from gradflow.report.typesetting import padding
from gradflow.statements import EQUATIONS, Equation

_MATHML = "{http://www.w3.org/1998/Math/MathML}"
_PRIMES = {"′", "'"}
_SCRIPTED = {"msub", "msup", "msubsup"}
_LARGE = {"∑", "∏"}
_PAPERS_OWN = ("forward", "vjp", "outputs")
"""Forms in which the paper states an equation; no number has two of them."""


@cache
def equation(number: str, form: str) -> Markup:
    """Return the equation `number` in one of its forms, as a block with its number.

    The number is the paper's, and is given to the paper's equation alone: what follows from it says so.

    Raises:
        LookupError: if there is none.
    """
    found = _find(number, form)
    label = f"({number})" if number.isdigit() else ""
    if label and form not in _PAPERS_OWN:
        label = f"from {label}"
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


def _mend_scripts(element: ET.Element) -> None:
    """Put a prime on its letter, a superscript at its base's shoulder and a subscript at its foot."""
    if element.tag in {"msup", "msubsup"} and element[-1].text in _PRIMES:
        letter, *below, prime = element
        element.clear()
        element.tag = "msub" if below else "mrow"
        primed = ET.SubElement(element, "mrow")
        ET.SubElement(primed, "mi").text = letter.text
        ET.SubElement(primed, "mo", lspace="0", rspace="0").text = prime.text
        element.extend(below)
    if element.tag in _SCRIPTED and element[0].tag in {"mi", "mn", "mo", "mrow"}:
        base = element[0]
        sizes = dict(padding(below=element.tag != "msup", above=element.tag != "msub"))
        padded = ET.Element("mpadded", sizes)
        element[0] = padded
        padded.append(base)


def _mathml(latex: str, alternative: str, display: str) -> Markup:
    root = ET.fromstring(convert(latex, display=display))
    root.set("alttext", alternative)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_MATHML)  # HTML knows <math> without its namespace
        if display == "block" and element.tag == "msubsup" and element[0].text in _LARGE:
            element.tag = "munderover"  # the converter forgets this inside brackets
    for element in list(root.iter()):
        _mend_scripts(element)
    return Markup(ET.tostring(root, encoding="unicode"))
