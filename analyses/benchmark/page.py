"""What the pages of all benchmarks have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def limits_table(rows: Iterable[tuple[str, str, str]]) -> str:
    """Return a table of what was measured, and of what it may be at most."""
    lines = [f"| {what} | {measured} | {limit} |" for what, measured, limit in rows]
    return "\n".join(["| What | Measured | At most |", "|---|---|---|", *lines])


def made_by(provenance: Mapping[str, Any]) -> str:
    """Return the page's last sentences: the command, the machine, the versions and the day."""
    versions = provenance["versions"]
    return (
        f"Made by `{provenance['command']}` on {provenance['cores']} cores, {provenance['threads']} threads, "
        f"torch {versions['torch']}, Python {versions['python']}, "
        f"{provenance['written'][:10]}. All single timings are in `numbers.json`.\n"
    )
