"""A unit's h and f, evaluated again from the graph with everything else held as it was.

Equations 6 to 8 multiply what stands on the shortcut: a constant λ, a dropout's mask, a gate's
1 − g(x), a 1×1 convolution. With masks, gates and normalisation statistics held at what they
were in the pass, each of these is an affine map u ↦ A u + c. It is put together here from what
the nodes of the graph keep (`operations`), so that it works on any network and shares no
computation with the values that it is compared with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradflow.equations.operations import Factor, Step, multiplication_by, step_of
from gradflow.units.graph import Port, is_leaf
from gradflow.units.tracing import TracedUnit


@dataclass(frozen=True, eq=False)
class Held:
    """A path of the graph as a function of its start, all else held.

    Attributes:
        steps: in the order of the forward pass; none for the identity.
    """

    steps: tuple[Step, ...] = ()

    @property
    def factor(self) -> Factor | None:
        """What the function multiplies each element by: 1 for the identity; None if it does more."""
        product: Factor = 1.0
        for step in self.steps:
            if step.factor is None:
                return None
            product = product * step.factor
        return product

    @property
    def gain(self) -> float:
        """By how much the function enlarges a vector of random sign."""
        return math.prod(step.gain for step in self.steps)

    @property
    def roundings(self) -> float:
        """Roundings of one element of the result, in units of the roundoff."""
        return sum(step.roundings for step in self.steps)

    @property
    def gated(self) -> bool:
        """Whether a factor has a derivative of its own: h′ is then more than `factor`."""
        return any(step.gated for step in self.steps)

    @property
    def linear(self) -> bool:
        """Whether the function is linear, rather than affine or more than that."""
        return all(step.linear for step in self.steps)

    def __call__(self, value: Tensor) -> Tensor:
        """Return the function's value."""
        for step in self.steps:
            value = step.apply(value)
        return value


def held_shortcut(unit: TracedUnit, dtype: torch.dtype) -> Held | None:
    """Return h of `unit`, with gates, masks and statistics held; None if it cannot be told.

    Args:
        unit: a unit whose graph is whole.
        dtype: in which it is to be evaluated.
    """
    if unit.split is None:
        return None
    port, factor = unit.operand(unit.split.shortcut_operand)
    found = _evaluable(port, unit.fork, dtype)
    if found is None or factor == 1:
        return found
    return Held((*found.steps, multiplication_by(factor, dtype)))


def held_post_activation(unit: TracedUnit, dtype: torch.dtype) -> Held | None:
    """Return f of `unit`, from y_l to x_{l+1}; None if it cannot be told."""
    return _evaluable(unit.out, unit.total, dtype)


def held_block(unit: TracedUnit, dtype: torch.dtype) -> Held | None:
    """Return what a block without shortcut does to x_l; None if it cannot be told."""
    return _evaluable(unit.total, unit.fork, dtype)


def _evaluable(end: Port, start: Port, dtype: torch.dtype) -> Held | None:
    """Return the way from `start` to `end`; None also where what a node kept has been overwritten."""
    try:
        return _path(end, start, dtype)
    except RuntimeError:  # autograd refuses to hand out what an in-place operation has changed since
        return None


def _path(end: Port, start: Port, dtype: torch.dtype) -> Held | None:
    """Return the one way from `start` to `end` that can be evaluated again.

    An operation with two operands that both come from `start` is a gate times a value: the
    operand that is itself no operation known here (the sigmoid) is held.
    """
    if end == start:
        return Held()
    node = end.node
    found: list[Held] = []
    for index, (origin, output) in enumerate(node.next_functions):
        if origin is None or is_leaf(origin):
            continue
        before = _path(Port(origin, output), start, dtype)
        if before is None:
            continue
        step = step_of(node, index, dtype)
        if step is not None:
            found.append(Held((*before.steps, *step)))
    return found[0] if len(found) == 1 else None
