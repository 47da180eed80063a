"""The page's scripts: its own, and the charting library out of its installed package.

A page runs these two and nothing else: its content security policy names them by their digests, so a
script that a name or a number smuggled in would not run even if it were not escaped, and nothing is
loaded from anywhere. Numbers and names come as data (`exploration.embed_json`).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import lru_cache
from importlib.resources import files

from markupsafe import Markup

_OWN = ("decoding.js", "charts.js", "table.js", "state.js", "scene.js", "view.js")
"""Parts of the page's own script, in order; the last one starts it."""


@lru_cache(maxsize=1)
def own_script() -> Markup:
    """Return the page's own script."""
    folder = files("gradflow.report") / "templates"
    text = "\n".join((folder / name).read_text(encoding="utf-8") for name in _OWN)
    return Markup(f"\n{text}")


@lru_cache(maxsize=1)
def packed_library() -> Markup:
    """Return the charting library, gzipped, in base64: a third of its size, and read only when needed."""
    return Markup(base64.b64encode(gzip.compress(_library().encode(), mtime=0)).decode())


@lru_cache(maxsize=1)
def security_policy() -> str:
    """Return the content security policy that lets the two scripts run, and loads nothing.

    Styles are the page's own and the figures'; images are drawn by the figures and the library, in place.
    """
    scripts = " ".join(f"'sha256-{_digest(text)}'" for text in (str(own_script()), _library()))
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@lru_cache(maxsize=1)
def _library() -> str:
    # Late: a report's figures need no charting library, and importing this one takes a while.
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
