"""Formulas inside text: what is written x_{l+1}, λ^k or b_g becomes MathML, which browsers draw."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

_SUBSCRIPT = r"_(?:\{(?P<braced>[^{}]*)\}|(?P<sub>[A-Za-z0-9]|(?<=N_)[a-z]+))(?![A-Za-z0-9_])"
_VALUE = r"(?P<value>[ \u00a0]=[ \u00a0][−-]?[0-9.]*[0-9](?![0-9.^_]))?"
_NESTED = r"\((?:[^()]|\([^()]*\))*\)"
_SUPERSCRIPT = rf"\^(?:\{{(?P<raised>[^{{}}]*)\}}|(?P<sup>{_NESTED}|[−-]?[A-Za-z0-9½]+))"
_BASE = r"(?<![A-Za-z0-9_.])(?P<base>\([^()]*\)|[0-9.]+|[A-Za-zα-ωΑ-Ω][′\u0302]?|[∏∑|])"
_FORMULA = re.compile(rf"{_BASE}(?=[_^])(?:{_SUBSCRIPT})?(?:{_SUPERSCRIPT})?{_VALUE}")
_TOKEN = re.compile(r"[0-9.]+|[A-Za-zα-ωΑ-Ω]\u0302?|.")


def typeset(text: str) -> Markup:
    """Return `text` with the sub- and superscripts in it typeset; what is markup already is left as it is.

    A name such as grad_in_norm is none: a subscripted letter stands alone.

    Args:
        text: words, with formulas as one types them.
    """
    if isinstance(text, Markup):
        return text
    parts, at = [], 0
    for found in _FORMULA.finditer(text):
        below = found["braced"] or found["sub"]
        above = found["raised"] or found["sup"]
        if below or above:
            parts += [escape(text[at : found.start()]), _formula(found, below, above)]
            at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def _formula(found: re.Match[str], below: str | None, above: str | None) -> Markup:
    if above and above.startswith("(") and above.endswith(")"):
        above = above[1:-1]
    scripts = [_row(one) for one in (below, above) if one]
    tag = {(True, False): "msub", (False, True): "msup", (True, True): "msubsup"}[bool(below), bool(above)]
    size = Markup("").join(
        Markup(' {}="{}"').format(name, size) for name, size in padding(below=bool(below), above=bool(above))
    )
    base = Markup("<mpadded{}>{}</mpadded>").format(size, _row(found["base"]))
    value = "".join((found["value"] or "").split())
    return Markup('<math display="inline" alttext="{}"><{}>{}{}</{}>{}</math>').format(
        found[0], Markup(tag), base, Markup("").join(scripts), Markup(tag), _value(value)
    )


def padding(*, below: bool, above: bool) -> list[tuple[str, str]]:
    """Return the size that a base gets for its scripts to stand at its shoulder and at its foot.

    Where a font says nothing of mathematics, browsers put a superscript on top of the base, and a subscript
    beside it.
    """
    return [*([("height", ".45em")] if above else []), *([("depth", ".2em")] if below else [])]


def _value(value: str) -> Markup:
    # The number is a row of its own, in which a minus is a sign and no subtraction.
    return Markup("<mo>=</mo>{}").format(_row(value[1:])) if value else Markup("")


def _row(text: str) -> Markup:
    """Return letters, numbers and signs as MathML's elements."""
    tokens = Markup("").join(_token(found[0]) for found in _TOKEN.finditer(text) if found[0].strip())
    return Markup("<mrow>{}</mrow>").format(tokens)


def _token(text: str) -> Markup:
    if text[0].isdigit():
        return Markup("<mn>{}</mn>").format(text)
    return Markup("<mi>{}</mi>" if text[0].isalpha() else "<mo>{}</mo>").format(text)
