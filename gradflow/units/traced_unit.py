"""What a forward pass shows: units, additions that are none, and values for whoever wants to see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.classification import Split
from gradflow.units.graph import Edge, Port

Value = TypeVar("Value")


@dataclass(eq=False)
class TracedUnit:
    """One residual unit of one forward pass, with its places in the autograd graph.

    Attributes:
        index: 0-based order of execution.
        name: qualified name of the module in whose forward the addition stands.
        fork: x_l.
        total: y_l, the result of the addition; for a named block its output.
        out: x_{l+1}, read at the next unit's fork.
        shortcut: what h is; 'none' for a named block.
        post_activation: what f is.
        shape: shape of y_l.
        split: how the addition came apart; None for a named block.
        branch_edges: edges along which the branch's part of ∂E/∂x_l flows into the fork.
        interior: nodes between the fork and y_l.
        branch_parameters: leaves of the branch.
        shortcut_parameters: leaves of the shortcut.
        where: Python module and line of the addition; empty for a named block.
        packed: whether values that its nodes keep are not to be read: they have been put elsewhere, as
            activation checkpointing does, or may have been written to.
    """

    index: int
    name: str
    fork: Port
    total: Port
    shortcut: str
    shape: torch.Size
    split: Split | None
    branch_edges: tuple[Edge, ...]
    interior: frozenset[Node]
    branch_parameters: tuple[Tensor, ...]
    shortcut_parameters: tuple[Tensor, ...]
    post_activation: str = "identity"
    where: str = ""
    packed: bool = False
    out: Port = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.total

    def operand(self, index: int) -> tuple[Port, float]:
        """Return operand `index` of the addition, and what the addition multiplies it by.

        That is 1, but for the second operand of a subtraction or of ``torch.add(…, alpha=…)``.
        """
        node, output = self.total.node.next_functions[index]
        assert node is not None, "an operand of a residual addition has a history"
        if index == 0:
            return Port(node, output), 1.0
        alpha = float(getattr(self.total.node, "_saved_alpha", 1))
        return Port(node, output), -alpha if self.total.node.name() == "SubBackward0" else alpha

    def in_roles(self, first: Value, second: Value) -> tuple[Value, Value]:
        """Return what belongs to the addition's two operands as what belongs to h(x_l) and to F(x_l).

        A named block adds nothing: F is its second.
        """
        is_turned = self.split is not None and self.split.shortcut_operand == 1
        return (second, first) if is_turned else (first, second)

    @property
    def branch_output(self) -> tuple[Port, float]:
        """Where F(x_l) comes from, up to a factor, and the factor; a named block's F is all of it."""
        return (self.total, 1.0) if self.split is None else self.operand(1 - self.split.shortcut_operand)

    @property
    def shortcut_is_fork(self) -> bool:
        """Whether x_l itself is an operand of the addition, with nothing on its way."""
        if self.split is None:
            return False
        return self.operand(self.split.shortcut_operand)[0] == self.fork


@dataclass(eq=False, slots=True)
class Addition:
    """An addition that has been made and shown to an observer, and what has to be known of it.

    Attributes:
        name: qualified name of the module in whose forward it stands.
        where: Python module and line.
        ports: where its operands come from.
        total: the sum.
        shape: of the sum.
        seen: what the observer said of the operands.
        packed: as for `TracedUnit`.
    """

    name: str
    where: str
    ports: tuple[Port, Port]
    total: Port
    shape: torch.Size
    seen: Any
    packed: bool = False

    def as_unit(self, index: int, split: Split) -> TracedUnit:
        """Return the unit whose addition this is.

        Args:
            index: of the unit.
            split: how the addition comes apart.
        """
        return TracedUnit(
            index=index,
            name=self.name,
            fork=split.fork,
            total=self.total,
            shortcut=split.shortcut,
            shape=self.shape,
            split=split,
            branch_edges=split.branch_edges,
            interior=split.interior,
            branch_parameters=split.branch_parameters,
            shortcut_parameters=split.shortcut_parameters,
            where=self.where,
            packed=self.packed,
        )


@dataclass(frozen=True)
class PassedOver:
    """An addition (or a named block) that is not measured, and why.

    Attributes:
        name: qualified name of the module in whose forward it stands.
        reason: why it is not measured.
        where: Python module and line of the addition; empty for a named block.
        shape: of the sum; empty for a named block.
    """

    name: str
    reason: str
    where: str = ""
    shape: tuple[int, ...] = ()


class Observer(Protocol):
    """What may be done with the values of a forward pass while they exist.

    The values have a history, which an observer that computes with them must leave aside. Which additions are
    units' may be told some time after they were seen, in their order.
    """

    def fork_value(self, port: Port, value: Tensor) -> None:
        """See a value that is used a second time: it may turn out to be a fork."""

    def operands(self, first: Tensor | None, second: Tensor) -> Any:
        """See what is to be added, before the addition; for a named block None and F(x_l).

        Returns:
            whatever the observer wants to be handed when more is known of this addition.
        """

    def total(self, port: Port, value: Tensor, seen: Any) -> None:
        """See the sum of the operands of which `seen` is known."""

    def unit(self, unit: TracedUnit, seen: Any) -> None:
        """Learn that an addition, or a named block, is a unit."""

    def out_value(self, port: Port, value: Tensor) -> None:
        """See f(y_l), where f is what it was in the unit before."""


class Bystander:
    """An observer that looks at no value."""

    def fork_value(self, port: Port, value: Tensor) -> None:
        """Ignore the value."""

    def operands(self, first: Tensor | None, second: Tensor) -> None:
        """Ignore the values."""

    def total(self, port: Port, value: Tensor, seen: None) -> None:
        """Ignore the value."""

    def unit(self, unit: TracedUnit, seen: None) -> None:
        """Ignore the unit."""

    def out_value(self, port: Port, value: Tensor) -> None:
        """Ignore the value."""
