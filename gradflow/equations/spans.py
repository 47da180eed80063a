"""On which spans of units the equations are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradflow.errors import ProbeError
from gradflow.units.runs import Run, join_runs

if TYPE_CHECKING:
    from gradflow.probing.capture import Capture
    from gradflow.units.tracing import TracedUnit

Span = tuple[int, int]
"""(l, L): from x_l to x_L, through units l to L − 1."""


@dataclass(frozen=True)
class Chain(Run):
    """Consecutive units of one stage, each starting where the one before ends, of one shape.

    Attributes:
        identity: whether every unit's h is the identity, x_l itself being an operand.
        post_activation: what every unit's f is.
    """

    identity: bool
    post_activation: str

    @property
    def plain(self) -> bool:
        """Whether every unit is of the form of eq. 3, so that eq. 4 and 5 must hold."""
        return self.identity and self.post_activation == "identity"


def chains(capture: Capture) -> list[Chain]:
    """Return the longest chains of units of one kind on which eq. 4 to 8 can be evaluated."""
    kinds = [kind_of(unit) if is_comparable(capture, unit) else None for unit in capture.units]
    return [Chain(run.first, run.last, run.stage, *kind) for run, kind in join_runs(capture.units, kinds)]


def kind_of(unit: TracedUnit) -> tuple[bool, str]:
    """Return whether h is the identity, element by element, and what f is."""
    post_activation = unit.post_activation
    if post_activation == "identity" and unit.out != unit.total:
        post_activation = "rearranged"
    return unit.shortcut == "identity" and unit.shortcut_is_fork, post_activation


def is_comparable(capture: Capture, unit: TracedUnit) -> bool:
    """Whether x_l, F(x_l) and x_{l+1} were read and have one shape."""
    x, out = capture.values.get(unit.fork), capture.values.get(unit.out)
    branch = capture.branches[unit.index]
    return x is not None and out is not None and x.shape == branch.shape == out.shape


def is_unit(span: Span, count: int) -> bool:
    """Whether `span` is one of `count` units: of that eq. 1, 2, 3 and 6 speak, whatever its shapes."""
    return 0 <= span[0] < count and span[1] == span[0] + 1


def chain_of(span: Span, found: Sequence[Chain]) -> Chain | None:
    """Return the chain that holds `span`; None if it crosses a stage or holds a unit of another form."""
    first, end = span
    return next((chain for chain in found if chain.first <= first < end <= chain.end), None)


def not_comparable(span: Span, found: Sequence[Chain]) -> ProbeError:
    """Return the error that refuses a span that no chain holds, and names those that there are."""
    first, end = span
    allowed = ", ".join(f"{chain.first}-{chain.end}" for chain in found) or "none"
    return ProbeError(
        f"span {first}-{end} cannot be compared: x_{first} and x_{end} must be of one stage, with units of "
        f"one form between them; spans may lie inside {allowed}"
    )
