"""What the columns of a report's tables mean, once a page: a pointer's hints reach no keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from gradflow.report.tables import Head, Table

_SUBSCRIPT = re.compile(r"\b([A-Za-zθσ])_(?:\{([^}]+)\}|(\w)\b)")


@dataclass(frozen=True)
class Entry:
    """The columns of tables of one kind.

    Attributes:
        key: of the entry's place in the page.
        title: what the tables are called.
        heads: each column that any of them has, once.
    """

    key: str
    title: str
    heads: list[Head]


def glossary_key(title: str) -> str:
    """Return the id of the entry for tables of this title."""
    return f"columns-{title.lower().replace(' ', '-')}"


def typeset(text: str) -> Markup:
    """Return `text` as HTML in which one letter's subscripts stand lower; names keep their underlines.

    >>> typeset("‖x_{l+1}‖ of a layer_norm, l < L")
    Markup('‖x<sub>l+1</sub>‖ of a layer_norm, l &lt; L')
    """
    lower = _SUBSCRIPT.sub(lambda match: f"{match[1]}<sub>{match[2] or match[3]}</sub>", str(escape(text)))
    return Markup(lower)


def make_glossary(tables: Iterable[tuple[str, Table]]) -> list[Entry]:
    """Return an entry for each title, in the order in which they come first.

    Args:
        tables: each with the title of its kind.
    """
    heads: dict[str, dict[str, Head]] = {}
    for title, table in tables:
        if len(table):
            heads.setdefault(title, {}).update({head.title: head for head in table.heads})
    return [Entry(glossary_key(title), title, list(found.values())) for title, found in heads.items()]
