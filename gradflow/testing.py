"""Assertions about gradient flow, for other people's test suites."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from gradflow.errors import LimitError
from gradflow.findings import Limit, describe_violations, find_violations
from gradflow.probing import BatchNormMode, Loss, probe
from gradflow.record import Record
from gradflow.units import Inputs, UnitSelection

_QUANTITIES: dict[str, tuple[str, Literal["<", ">"]]] = {
    "max_decay_per_unit": ("decay_per_unit", ">"),
    "max_growth_per_unit": ("growth_per_unit", ">"),
    "min_shortcut_share": ("shortcut_share", "<"),
    "min_branch_share": ("branch_share", "<"),
    "min_survival": ("survival", "<"),
}


def assert_gradient_flow(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    max_decay_per_unit: float | None = None,
    max_growth_per_unit: float | None = None,
    min_shortcut_share: float | None = None,
    min_branch_share: float | None = None,
    min_survival: float | None = None,
    no_nonfinite: bool = True,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
) -> Record:
    """Probe `model`, and fail if the flow of gradients through one of its units is beyond a limit.

    The model is left as it was. What each number is: `gradflow.findings.QUANTITIES`.

    Args:
        model: as for `gradflow.probe`.
        inputs: as for `gradflow.probe`.
        targets: as for `gradflow.probe`.
        max_decay_per_unit: the gradient's norm may shrink by this factor in a unit, towards the input.
        max_growth_per_unit: it may grow by this factor there.
        min_shortcut_share: least ‖s‖² / (‖s‖² + ‖b‖²), the shortcut's share of the gradient's energy.
        min_branch_share: least ‖F‖² / (‖h‖² + ‖F‖²), the branch's share of the signal's energy; units whose
            branch was dropped for the whole batch, as stochastic depth does, are not held to it.
        min_survival: least ‖s + b‖ / ‖s‖ of the median sample.
        no_nonfinite: fail if an element of a unit's tensors or of a parameter is NaN or infinite.
        loss: as for `gradflow.probe`.
        bn: as for `gradflow.probe`.
        units: as for `gradflow.probe`; only these are held to the limits.

    Returns:
        what was measured.

    Raises:
        AssertionError: naming for each limit the unit that is furthest beyond it, its value, and the limit,
            and where numbers that are not finite began.
        LimitError: if a limit says nothing, there is none, or no unit has what one is about.
    """
    given = {
        "max_decay_per_unit": max_decay_per_unit,
        "max_growth_per_unit": max_growth_per_unit,
        "min_shortcut_share": min_shortcut_share,
        "min_branch_share": min_branch_share,
        "min_survival": min_survival,
    }
    limits = [Limit(*_QUANTITIES[name], value) for name, value in given.items() if value is not None]
    if no_nonfinite:
        limits.append(Limit("nonfinite", ">", 0))
    if not limits:
        raise LimitError(f"nothing to assert: give {', '.join(given)}, or no_nonfinite=True")
    record = probe(model, inputs, targets, loss=loss, bn=bn, units=units)
    violations = find_violations(record, limits)
    if violations:
        name, lines = type(model).__name__, describe_violations(violations)
        raise AssertionError(f"the gradient flow of {name} is out of bounds:\n{lines}")
    return record
