# ruff: noqa: SLF001 - what a node keeps is documented as `_saved_…`, and has no other name
"""The transpose of a shortcut's Jacobian, by the rules of calculus and not by the network's backward pass.

Equation 8 multiplies a gradient by h′. Taken from autograd's pass over the network, a mistake in
that pass (an operation whose backward is wrong, a hook that changes a gradient) would stand on both
sides and cancel. Here each operation between x_l and h(x_l) is differentiated from what its node
kept of the forward pass: a gate's own derivative, a normalisation's with respect to its statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.equations.operations import UNCHANGED_BY, Factor, step_of
from gradflow.equations.transposes import ROUNDINGS_OF_A_NORMALISATION, normalisation, transpose_of
from gradflow.units.classification import operation
from gradflow.units.graph import Port, is_leaf
from gradflow.units.tracing import TracedUnit


@dataclass(frozen=True, eq=False)
class Local:
    """The transposed Jacobian of one operation with respect to one of its inputs.

    Attributes:
        apply: from the gradient of its output to that of its input.
        roundings: of one element of the result, in units of the roundoff.
    """

    apply: Callable[[Tensor], Tensor]
    roundings: float = 1.0


@dataclass(frozen=True, eq=False)
class Adjoint:
    """(∂h/∂x_l)ᵀ, a sum over the ways from h(x_l) back to x_l.

    Attributes:
        ways: the operations of each, from the last one of the forward pass to the first; at least one.
        factor: what the addition multiplies h by.
    """

    ways: tuple[tuple[Local, ...], ...]
    factor: float = 1.0

    @property
    def roundings(self) -> float:
        """Roundings of one element of the result, in units of the roundoff."""
        each = (sum(local.roundings for local in way) for way in self.ways)
        return max(each) + len(self.ways) - 1 + (self.factor != 1)

    def __call__(self, cotangent: Tensor) -> Tensor:
        """Return (∂h/∂x_l)ᵀ `cotangent`, in its dtype."""
        scaled = cotangent * self.factor
        return torch.stack(
            [reduce(lambda part, local: local.apply(part), way, scaled) for way in self.ways]
        ).sum(0)


def shortcut_adjoint(unit: TracedUnit, dtype: torch.dtype) -> Adjoint | None:
    """Return (∂h/∂x_l)ᵀ of `unit`; None if one of its operations is not known here.

    Args:
        unit: a unit whose graph is whole.
        dtype: in which it is to be evaluated.
    """
    if unit.split is None:
        return None
    port, factor = unit.operand(unit.split.shortcut_operand)
    try:
        ways = _ways(port, unit, dtype)
    except RuntimeError:  # autograd refuses to hand out what an in-place operation has changed since
        return None
    return None if not ways else Adjoint(tuple(ways), factor)


def _ways(end: Port, unit: TracedUnit, dtype: torch.dtype) -> list[tuple[Local, ...]] | None:
    """Return the ways from `end` back to the unit's fork; None if one has an unknown operation."""
    if end == unit.fork:
        return [()]
    found: list[tuple[Local, ...]] = []
    for index, (origin, output) in enumerate(end.node.next_functions):
        if origin is None or is_leaf(origin):
            continue
        before = Port(origin, output)
        if before != unit.fork and origin not in unit.interior:
            continue  # it came from elsewhere and is held
        behind = _ways(before, unit, dtype)
        local = _local(end.node, index, before, dtype) if behind else None
        if behind is None or (behind and (local is None or end.output != 0)):
            return None
        found += [(way if local is None else (local, *way)) for way in behind]
    return found


def _local(node: Node, index: int, before: Port, dtype: torch.dtype) -> Local | None:
    """Return the transposed Jacobian of `node` for input number `index`, which comes from `before`."""
    name = operation(node)
    if name in UNCHANGED_BY:
        return Local(lambda cotangent: cotangent, 0.0)
    derivative = _DERIVATIVES.get(name)
    if derivative is not None:
        factor, roundings = derivative(node, index)
        return Local(partial(_multiply, factor, before.shape), roundings)
    through_statistics = normalisation(node) if index == 0 else None
    if through_statistics is not None:
        return Local(through_statistics, ROUNDINGS_OF_A_NORMALISATION)
    steps = step_of(node, index, dtype)
    if steps is None or len(steps) != 1:
        return None
    (step,) = steps
    if step.factor is not None:
        return Local(partial(_multiply, step.factor, before.shape), step.roundings)
    transpose = transpose_of(node, before.shape)
    return None if transpose is None else Local(transpose, step.roundings)


def _multiply(factor: Factor, shape: torch.Size, cotangent: Tensor) -> Tensor:
    """Return the gradient of an input of an elementwise operation, which may have been broadcast."""
    if isinstance(factor, Tensor):
        factor = factor.to(cotangent.dtype)
    return (cotangent * factor).sum_to_size(shape)


def _sigmoid(node: Any, index: int) -> tuple[Factor, float]:  # noqa: ARG001 - as the others
    value = node._saved_result.detach().double()
    return value * (1 - value), 3.0


def _addition(node: Any, index: int) -> tuple[Factor, float]:
    return (1.0, 0.0) if index == 0 else (float(node._saved_alpha), 1.0)


def _subtraction(node: Any, index: int) -> tuple[Factor, float]:
    return (1.0, 0.0) if index == 0 else (-float(node._saved_alpha), 1.0)


def _reversed_subtraction(node: Any, index: int) -> tuple[Factor, float]:
    return (-float(node._saved_alpha), 1.0) if index == 0 else (1.0, 0.0)


def _negation(node: Any, index: int) -> tuple[Factor, float]:  # noqa: ARG001 - as the others
    return -1.0, 0.0


_DERIVATIVES: dict[str, Callable[[Any, int], tuple[Factor, float]]] = {
    "Sigmoid": _sigmoid,
    "Add": _addition,
    "Sub": _subtraction,
    "Rsub": _reversed_subtraction,
    "Neg": _negation,
}
"""What each elementwise operation multiplies a gradient by, and the roundings that this takes."""
