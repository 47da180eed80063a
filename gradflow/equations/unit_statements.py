"""Equations 1, 2, 3 and 6: statements about the signal of one unit."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import torch
from torch import Tensor

from gradflow.equations.flows import Flow, Variant
from gradflow.equations.held import held_post_activation
from gradflow.equations.residuals import Residual
from gradflow.equations.spans import Chain, is_comparable, kind_of
from gradflow.equations.tensors import Tensors
from gradflow.equations.verdicts import NOT_COMPARABLE, NOT_EVALUATED, Verdict, why_not
from gradflow.probing.capture import Capture
from gradflow.tolerances import carried_sum, function_value, sum_of_terms
from gradflow.units.tracing import TracedUnit


def unit_statements(tensors: Tensors, as_read: TracedUnit, numbers: Collection[str]) -> Iterator[Verdict]:
    """Yield the verdicts on one unit.

    Args:
        tensors: of the run.
        as_read: the unit, with x_{l+1} where the next one reads it: eq. 2 is about what is between.
        numbers: equations that are asked for.
    """
    capture, index = tensors.capture, as_read.index
    unit = capture.units[index]
    chain = Chain(index, index, tensors.stages[index], *kind_of(unit))
    span = index, index + 1
    if "1" in numbers:
        reasons = ["it has no shortcut"] if unit.split is None else []
        yield Verdict(
            "1",
            "forward",
            span,
            chain.stage,
            _addition(tensors, index),
            sum_of_terms(tensors.dtype, 1),
            reasons,
        )
    if "2" in numbers:
        yield _activation(tensors, as_read, chain.stage)
    asked = [number for number in ("3", "6") if number in numbers and (number == "3" or unit.split)]
    # Where h is the identity λ is 1 and eq. 6 is eq. 3: what is evaluated once is given for both.
    together = [asked] if chain.identity else [[number] for number in asked]
    for same in filter(None, together):
        variant = Variant(shortcuts="3" not in same and not chain.identity)
        residual, tolerance, absent = _signal(tensors, chain, variant)
        reasons = list(filter(None, [why_not(unit, variant)]))
        for number in same:
            yield Verdict(number, "forward", span, chain.stage, residual, tolerance, reasons, absent)


def _signal(tensors: Tensors, chain: Chain, variant: Variant) -> tuple[Residual | None, float, str]:
    """Return the residual of x_{l+1} = h(x_l) + F(x_l), its tolerance, and why there is none, if so."""
    index, capture = chain.first, tensors.capture
    unit, flow = capture.units[index], Flow(tensors, chain, variant, forward=True)
    residual, absent = None, NOT_COMPARABLE
    comparable = _adds_up_to_the_next if variant.shortcuts else is_comparable
    if comparable(capture, unit):
        if flow.before(index) is None:
            absent = NOT_EVALUATED
        else:
            ((_, residual),) = flow.along(index, [index + 1])
    roundings = flow.roundings
    tolerance = carried_sum(tensors.dtype, 1, roundings) if roundings else sum_of_terms(tensors.dtype, 1)
    return residual, tolerance, absent


def _adds_up_to_the_next(capture: Capture, unit: TracedUnit) -> bool:
    """Whether x_l was read, and x_{l+1} has the shape of F(x_l), as eq. 6 takes it; h may change x_l's."""
    out = capture.values.get(unit.out)
    return unit.fork in capture.values and out is not None and out.shape == capture.branches[unit.index].shape


def _addition(tensors: Tensors, index: int) -> Residual | None:
    """Return the residual of y = h(x) + F(x)."""
    capture = tensors.capture
    branch, shortcut = capture.branches[index], capture.shortcuts[index]
    total = capture.values.get(capture.units[index].total)
    if shortcut is None or total is None:
        return None
    left = torch.sub(total.double(), shortcut.double()).sub_(branch.double())
    size, beside = tensors.size(branch), tensors.size(shortcut)
    smallest = np.minimum(np.minimum(size, beside), tensors.size(total))
    return Residual(tensors.norms(left), size + beside, smallest)


def _activation(tensors: Tensors, unit: TracedUnit, stage: int) -> Verdict:
    """Return the verdict on x_{l+1} = f(y_l)."""
    capture, index = tensors.capture, unit.index
    y, out = capture.values.get(unit.total), _read_by_the_next(capture, unit)
    held = held_post_activation(unit, torch.float64)
    residual = None
    if held is not None and y is not None and out is not None:
        value = held(y.double())
        size = tensors.size(y)
        residual = Residual(
            tensors.norms(torch.sub(out.double(), value)),
            held.gain * size + tensors.size(out),
            tensors.size(out),
        )
    tolerance = function_value(tensors.dtype, 0.0 if held is None else held.roundings)
    reasons = [f"f is {unit.post_activation}, which cannot be evaluated again"] if held is None else []
    return Verdict("2", "forward", (index, index + 1), stage, residual, tolerance, reasons)


def _read_by_the_next(capture: Capture, unit: TracedUnit) -> Tensor | None:
    """Return x_{l+1} as the next unit's shortcut hands it on, where that is what it does."""
    following = capture.units[unit.index + 1] if unit.index + 1 < len(capture.units) else None
    if following is None or following.fork != unit.out:
        return capture.values.get(unit.out)
    if following.shortcut == "identity" and following.shortcut_is_fork:
        return capture.shortcuts[following.index]
    return capture.values.get(unit.out)
