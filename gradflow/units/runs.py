"""Runs of units to which eq. 3 applies: x_{l+1} = x_l + F(x_l), h and f identities."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from gradflow.units.finding import stages
from gradflow.units.tracing import TracedUnit


@dataclass(frozen=True)
class Run:
    """Units `first` to `last`, each of which starts where the one before ends, in one stage.

    Where they are of the form of eq. 3, equations 4 and 5 hold on every span l..L with
    first ≤ l < L ≤ last + 1.
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


def ending_at_additions(units: Sequence[TracedUnit]) -> list[TracedUnit]:
    """Return the units, with those that close a chain of identity f ending at their addition.

    In a pre-activation network a unit that changes the shape activates x before both its paths (He et al.
    2016, section 5), and so does the head: what is read at its fork is f(y) of the unit before. That
    activation is the next unit's; x_L of the stage is y, and f of its last unit the identity, as in the
    others.
    """
    found = list(units)
    for previous, unit, (stage_before, stage) in zip(units, units[1:], pairwise(stages(units)), strict=False):
        continues = stage_before == stage and previous.out == unit.fork
        of_identity = previous.post_activation == "identity" and previous.out == previous.total
        if continues and of_identity and unit.split is not None and unit.out != unit.total:
            found[unit.index] = replace(unit, post_activation="identity")  # and with it `out` is `total`
    return found


def identity_runs(units: Sequence[TracedUnit]) -> list[Run]:
    """Return the maximal runs of units of the form of eq. 3, in order; x_L is `total` of the last one."""
    ending = ending_at_additions(units)
    return [run for run, _ in join_runs(ending, [has_identity_form(unit) or None for unit in ending])]


Kind = TypeVar("Kind", bound=Hashable)


def join_runs(units: Sequence[TracedUnit], kinds: Sequence[Kind | None]) -> list[tuple[Run, Kind]]:
    """Return the maximal runs of neighbours of one kind, each with its kind.

    Neighbours are units of one stage, of which the second starts where the first ends.

    Args:
        units: in order of execution.
        kinds: the kind of each; a unit of kind None belongs to no run.
    """
    runs: list[tuple[Run, Kind]] = []
    for unit, stage, kind in zip(units, stages(units), kinds, strict=True):
        if kind is None:
            continue
        run, previous = runs[-1] if runs else (None, None)
        if (
            run is not None
            and (run.end, run.stage, previous) == (unit.index, stage, kind)
            and units[run.last].out == unit.fork
        ):
            runs[-1] = Run(run.first, unit.index, stage), kind
        else:
            runs.append((Run(unit.index, unit.index, stage), kind))
    return runs
