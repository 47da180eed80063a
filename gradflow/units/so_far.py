"""The units of a forward pass as far as it has run, in whose light the next addition is told apart."""

from __future__ import annotations

import sys
from dataclasses import replace

from torch import Size, Tensor
from torch.autograd.graph import Node

from gradflow.units.classification import Split, function_name, split_addition
from gradflow.units.fork import Walk
from gradflow.units.graph import Port, between
from gradflow.units.naming import ParameterNames
from gradflow.units.traced_unit import PassedOver, TracedUnit
from gradflow.units.weights import WeightUses

_MACHINERY = ("gradflow.units.", "torch._", "torch.overrides", "torch.utils._")
"""Python modules that stand between an addition and the line on which it is written."""


class UnitsSoFar:
    """What is known of a forward pass.

    Attributes:
        units: the units so far, in order of execution.
        passed_over: the other additions so far.
        running: qualified names of the modules whose forward is running, the innermost last.
        inputs: the leaves that stand for the network's inputs, which are no parameters.
        names: of the network's parameters.
        unchanged: nodes of additions of the number 0, such as `sum` begins with.
        weights: which weights went into what.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units: list[TracedUnit] = []
        self.passed_over: list[PassedOver] = []
        self.running: list[str] = []
        self.inputs: list[Tensor] = []
        self.names = ParameterNames()
        self.unchanged: set[Node] = set()
        self.weights = WeightUses()
        self._totals: set[Node] = set()
        self._activation: list[str] = []
        self._followed: list[Node] | None = None

    @property
    def running_name(self) -> str:
        """Qualified name of the module whose forward is running."""
        return self.running[-1] if self.running else ""

    @property
    def follows(self) -> bool:
        """Whether the next operations may be what the last unit does after its addition."""
        return self._followed is not None

    def split(self, walk: Walk) -> Split | str:
        """Return how an addition comes apart, in the light of what ran before it, or why it does not."""
        walk.unchanged = self.unchanged
        for leaf in self.inputs:
            walk.parameters.pop(id(leaf), None)
        split = split_addition(walk, self.names)
        if isinstance(split, str):
            for unit in self.units[-1:]:
                starts_there = walk.fork is not None and walk.fork.node in {unit.fork.node, *unit.interior}
                if starts_there and unit.total in walk.operands:
                    return (
                        "it adds a third operand to the unit before, which starts from the same tensor: of "
                        "x + F + G only x + F is measured; written x + (F + G) it is one unit"
                    )
            return split
        if split.side_inputs and self.weights.recur_in(split):
            return "a recurrence: the same weights made x_l, and the branch reads another input at each step"
        return self._without_other_streams(split, walk)

    def _without_other_streams(self, split: Split, walk: Walk) -> Split:
        """Leave out the parameters of units of another stream, whose result the branch only reads.

        Streams take turns (language and vision, say), so another's layers may have run after x_l
        was made, and be above the fork in the graph, though x_l does not go into them.
        """
        if walk.is_all_from_fork:
            return split
        elsewhere = (walk.reached.keys() & self._totals) - split.interior
        if not elsewhere:
            return split
        own = walk.parameters_short_of(elsewhere)
        return replace(split, branch_parameters=tuple(p for p in split.branch_parameters if p in own))

    def keep(self, unit: TracedUnit) -> None:
        """Keep a unit, and learn from its fork what the unit before it does after its addition."""
        if self.units:
            previous = self.units[-1]
            nodes, edges = between(previous.total, unit.fork)
            follows = bool(edges) or previous.total == unit.fork
            previous.out = unit.fork if follows else previous.total
            previous.post_activation = function_name(nodes) if follows else "other"
            self._activation = [node.name() for node in nodes] if follows else []
        self.units.append(unit)
        self._totals.add(unit.total.node)
        self._followed = [unit.total.node] if self._activation else None

    def follow(self, made: Port, *, alone: bool = True) -> bool:
        """Take notice of an operation that may belong to f, if f is what it was in the unit before.

        A network's last unit has no next unit at whose fork its x_{l+1} could be read.

        Args:
            made: what the operation made.
            alone: whether another operation on y_l ends the matter.

        Returns:
            whether that is f(y_l).
        """
        node, followed = made.node, self._followed
        if not followed or all(origin is not followed[-1] for origin, _ in node.next_functions):
            return False
        if node.name() != self._activation[len(followed) - 1]:
            if alone:
                self._followed = None
            return False
        followed.append(node)
        return len(followed) > len(self._activation) and self._end_f(made, followed[1:])

    def follow_sum(self, made: Port) -> bool:
        """Take notice of an addition that is no unit's, as `follow` does of other operations.

        It may have been made some time ago, or be made beside f, so the graph is asked whether it ends f.

        Args:
            made: the sum.

        Returns:
            whether that is f(y_l).
        """
        if self.follow(made, alone=False):
            return True
        if not self._activation or self.units[-1].out != self.units[-1].total:
            return False
        nodes, edges = between(self.units[-1].total, made)
        if not edges or [node.name() for node in nodes] != self._activation:
            return False
        return self._end_f(made, nodes)

    def _end_f(self, made: Port, nodes: list[Node]) -> bool:
        self._followed = None
        self.units[-1].out = made
        self.units[-1].post_activation = function_name(nodes)
        return True

    def pass_over(self, reason: str, shape: Size) -> None:
        """Note that what is running now is not measured, and why.

        Args:
            reason: why.
            shape: of the sum.
        """
        self.passed_over.append(PassedOver(self.running_name, reason, line(), tuple(shape)))

    def forget_graph(self) -> None:
        """Drop what refers to the autograd graph beyond the units themselves."""
        self._totals.clear()
        self.unchanged.clear()
        self.weights.clear()
        self._followed = None


def line() -> str:
    """Return Python module and line of the addition that is being made."""
    frame = sys._getframe(1)  # noqa: SLF001 - CPython's, like the whole of torch's tracing
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_MACHINERY):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__', '?')}:{frame.f_lineno}"
