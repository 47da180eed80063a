"""Sums and differences told by their order of execution: counted in one pass, changed in a later one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodWrapperType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from gradflow.probing.batch_norm import BatchNormHandling
from gradflow.units.combining import IN_PLACE, SUMS, summands
from gradflow.units.tracing import Bystander, TracedUnit, UnitTracer


class CountingTracer(UnitTracer):
    """Finds units, and which of all sums and differences of equal shapes is whose.

    Attributes:
        count: additions so far.
        additions: for each residual unit the number of its addition, and which operand is F.
    """

    puts_off = False

    def __init__(self, selected: Any, handling: BatchNormHandling) -> None:
        super().__init__(Bystander(), selected, handling.overrides)
        self.count = 0
        self.additions: dict[int, tuple[int, int]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count additions, and trace them."""
        self.count += _is_addition(func, args, kwargs or {})
        return super().__torch_function__(func, types, args, kwargs)

    def found(self, unit: TracedUnit, seen: None) -> None:
        """Note the addition of a unit."""
        if unit.split is not None:
            self.additions[unit.index] = self.count, 1 - unit.split.shortcut_operand
        super().found(unit, seen)


class LeavingOut(TorchFunctionMode):
    """Leaves operands out of additions.

    Args:
        operands: by number of the addition the operand, 0 or 1.
    """

    def __init__(self, operands: Mapping[int, int]) -> None:
        super().__init__()
        self.count = 0
        self._operands = operands

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`; of an addition that is named, with zeros in place of one operand."""
        kwargs = kwargs or {}
        if _is_addition(func, args, kwargs):
            self.count += 1
            operand = self._operands.get(self.count)
            if operand is not None:
                args, kwargs = _without(operand, func, args, kwargs)
        return func(*args, **kwargs)


def _is_addition(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return type(func) is not MethodWrapperType and func in SUMS and summands(args, kwargs) is not None


def _without(
    operand: int, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the addition's arguments with zeros in place of one operand."""
    values = summands(args, kwargs)
    assert values is not None, "only additions are changed"
    if operand == 0 and func in IN_PLACE:
        values[0].zero_()  # what is written into must stay the same tensor
        return args, kwargs
    zeros = torch.zeros_like(values[operand])
    if len(args) > operand:
        return (*args[:operand], zeros, *args[operand + 1 :]), kwargs
    return args, {**kwargs, ("input", "other")[operand]: zeros}
