"""Runs of units to which eq. 3 applies: x_{l+1} = x_l + F(x_l), h and f identities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradflow.units.finding import stages
from gradflow.units.tracing import TracedUnit


@dataclass(frozen=True)
class Run:
    """Units `first` to `last`, each of which starts where the one before ends, in one stage.

    Equations 4 and 5 hold on every span l..L with first ≤ l < L ≤ last + 1.
    """

    first: int
    last: int
    stage: int

    @property
    def end(self) -> int:
        """L of the longest spans: x_L is where the run ends."""
        return self.last + 1


def has_identity_form(unit: TracedUnit) -> bool:
    """Whether the unit is of the form of eq. 3: x_l itself is an operand, y_l itself is x_{l+1}.

    A reshaped or transposed x is the identity as far as norms go, but not element by element.
    """
    return (
        unit.shortcut == "identity"
        and unit.post_activation == "identity"
        and unit.shortcut_is_fork
        and unit.out == unit.total
    )


def identity_runs(units: Sequence[TracedUnit]) -> list[Run]:
    """Return the maximal runs of units of the form of eq. 3, in order."""
    runs: list[Run] = []
    for unit, stage in zip(units, stages(units), strict=True):
        if not has_identity_form(unit):
            continue
        previous = runs[-1] if runs else None
        if (
            previous is not None
            and previous.end == unit.index
            and previous.stage == stage
            and units[previous.last].out == unit.fork
        ):
            runs[-1] = Run(previous.first, unit.index, stage)
        else:
            runs.append(Run(unit.index, unit.index, stage))
    return runs
