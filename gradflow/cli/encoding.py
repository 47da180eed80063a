"""Terminals that cannot write every letter: each letter has a plain one of the same width in its place.

The tables and sentences hold mathematics (‖∂E/∂x‖, ρ, ×) and the plot by depth holds blocks. Where standard
output's encoding has no such letter, the nearest one that it has is written, so that columns stay in line.
"""

from __future__ import annotations

import codecs
import unicodedata
from typing import TextIO

_HANDLER = "gradflow-plain"

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‖│", "|"),
        **dict.fromkeys("−–—‑", "-"),
        **dict.fromkeys("‘’′", "'"),
        **dict.fromkeys("“”", '"'),
        **dict.fromkeys("≤⟨", "<"),
        **dict.fromkeys("≥⟩→", ">"),
        **dict.fromkeys("·×", "x"),
        **dict.fromkeys("▁▂▃", "."),
        **dict.fromkeys("▄▅", ":"),
        **dict.fromkeys("▆▇█", "#"),
        "∂": "d",
        "ρ": "r",
        "σ": "s",
        "λ": "l",
        "Σ": "S",
        "Π": "P",
        "√": "v",
        "∞": "8",
        "∈": "e",
        "≈": "~",
        "▲": "^",
        "▼": "v",
        "⁻": "-",
        "…": "~",
    }
)


def plain(text: str) -> str:
    """Return `text` in ASCII, letter by letter; one that has no likeness is a question mark.

    >>> plain("‖∂E/∂x‖ ×1.2·10⁻⁵ ▁▄█")
    '|dE/dx| x1.2x10-5 .:#'
    """
    return "".join(letter if letter.isascii() else _nearest(letter) for letter in text.translate(_PLAIN))


def fit_to_encoding(stream: TextIO) -> None:
    """Let `stream` write plain letters where its encoding lacks one; a stream of Unicode is left as it is."""
    reconfigure = getattr(stream, "reconfigure", None)
    encoding = getattr(stream, "encoding", None)
    if reconfigure is None or not encoding or codecs.lookup(encoding).name.startswith("utf"):
        return
    codecs.register_error(_HANDLER, _replace)
    reconfigure(errors=_HANDLER)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end


def _nearest(letter: str) -> str:
    decomposed = unicodedata.normalize("NFKD", letter)[:1]  # ² is 2, é is e
    return decomposed if decomposed.isascii() and decomposed else "?"
