"""A hook of mkdocs: formulas in the pages become MathML, which browsers draw without a script.

LaTeX stands between dollars, alone in a line between two. What is typed as x_{l+1} or λ^k is typeset as well,
unless it is code.
"""

from __future__ import annotations

import re
from typing import Any

from gradflow.report.story.formulas import block, inline
from gradflow.report.typesetting import typeset

_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_BLOCK = re.compile(r"^\$\$(.+?)\$\$$", re.MULTILINE)
_INLINE = re.compile(r"\$([^$\n]+)\$")
_LEFT_ALONE = re.compile(
    r"(<(?P<tag>pre|code|math|script|style|title)\b.*?</(?P=tag)>|<[^>]*>|&[#\w]+;)", re.DOTALL
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's source with MathML in place of LaTeX."""
    kept: list[str] = []

    def keep(code: re.Match[str]) -> str:
        kept.append(code[0])
        return f"\0{len(kept) - 1}\0"

    text = _CODE.sub(keep, markdown)
    text = _BLOCK.sub(lambda found: str(block(found[1].strip())), text)
    text = _INLINE.sub(lambda found: f"<span>{inline(found[1])}</span>", text)
    return re.sub(r"\0(\d+)\0", lambda number: kept[int(number[1])], text)


def on_page_content(html: str, **_: Any) -> str:
    """Return a page with formulas in its text typeset."""
    parts, at = [], 0
    for found in _LEFT_ALONE.finditer(html):
        parts += [str(typeset(html[at : found.start()])), found[0]]
        at = found.end()
    return "".join([*parts, str(typeset(html[at:]))])
