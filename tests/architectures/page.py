"""The table of architectures as a page of the documentation."""

from __future__ import annotations

from architectures import FAMILIES
from architectures.row import Architecture, Kinds

_BEGINNING = """\
# Architectures

Generated from the table that the tests run on. For each architecture the number and kinds of residual
units were written down by reading its source; the tests insist that `gradflow.find_units` finds just
these, in the network that is named here (built without weights, on the meta device) and in a small one,
and that the probe's numbers in the small one are those of plain differentiation in float64.

A unit is named by its shortcut: `identity`, `projection`, `padding`, `scaled`, `gated`, `dropout` or
`other`. The last column says which other additions there are and why they are passed over, and in bold
what is residual and not measured. `gradflow probe --explain` says the same of your network, with the
line of each addition.

What is a unit, in short: two paths lead from one value x_l to an addition. One, the branch, passes
parameters or weights of its own and may read other values from before x_l (a context that it attends
to, a bias that layers share). The other, the shortcut, has a way of its own from x_l, with at most a
projection, scale, gate, dropout or padding on it. These are none: sums without parameters (GELU's inner
terms, rotary positions), sums of tensors that have no origin in common (embeddings), sums of two
branches, normalisations (which scale and shift), coupled streams (reversible networks), and recurrences
(the weights that made x_l once more, with another input). A step of a recurrence whose state begins as
a function of the input is found: it is the first, and nothing has recurred yet.
"""


def architectures_markdown() -> str:
    """Return the page."""
    lines = [_BEGINNING]
    for family, rows in FAMILIES.items():
        lines += [
            f"## {family}",
            "",
            "| Architecture | Units | How they are counted | Other additions |",
            "|---|---|---|---|",
            *map(_row, rows),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _row(row: Architecture) -> str:
    counted = (
        f"`{row.full.name}`: {_kinds(row.full.units)}" if row.full else f"{_kinds(_shortcuts(row.units))}"
    )
    if row.full is None and row.units:
        counted += " (in the small one)"
    other = "; ".join(row.passed_over)
    if row.unsupported:
        other += f". **Not measured: {row.unsupported}**"
    cells = (f"{row.name}<br>`{row.source}`", counted, row.how, other)
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def _kinds(units: Kinds) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in units.items()) or "none"


def _shortcuts(units: Kinds) -> Kinds:
    """Return how many units there are of each shortcut, whatever follows them."""
    found: dict[str, int] = {}
    for kind, count in units.items():
        shortcut = kind.partition(">")[0]
        found[shortcut] = found.get(shortcut, 0) + count
    return found
