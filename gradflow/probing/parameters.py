"""The record's `parameters` table: one row a parameter tensor, stem and head included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradflow.units.tracing import TracedUnit

Row = dict[str, Any]

_SMALL = 65536
"""Elements up to which a norm in float32 is right to 5e-7."""

_LEAST = 1e-15
"""Norm below which squares may have underflowed in float32."""


@torch.no_grad()
def parameter_rows(
    parameters: Mapping[str, Tensor], gradients: Mapping[Tensor, Tensor | None], units: Sequence[TracedUnit]
) -> list[Row]:
    """Return a row for each parameter of a network, in its own order.

    Args:
        parameters: by name.
        gradients: the gradient of each parameter that needs one; None where none came.
        units: the units, whose branch or shortcut a parameter may belong to.
    """
    owner: dict[Tensor, int] = {}
    for unit in units:
        for parameter in (*unit.branch_parameters, *unit.shortcut_parameters):
            owner.setdefault(parameter, unit.index)
    named = list(parameters.items())
    reached = [
        (parameter, gradients[parameter]) for _, parameter in named if gradients.get(parameter) is not None
    ]
    norms = dict(zip((parameter for _, parameter in named), _norms([p for _, p in named]), strict=True))
    gradient_norms = dict(
        zip(
            (parameter for parameter, _ in reached),
            _norms([g for _, g in reached if g is not None]),
            strict=True,
        )
    )
    rows: list[Row] = []
    for name, parameter in named:
        norm, gradient_norm = norms[parameter], gradient_norms.get(parameter)
        suspects = [(norm, parameter), (gradient_norm, gradients.get(parameter))]
        rows.append(
            {
                "name": name,
                "unit": owner.get(parameter),
                "numel": parameter.numel(),
                "norm": _finite(norm),
                "grad_norm": _finite(gradient_norm),
                "nonfinite": sum(
                    int((~tensor.isfinite()).sum())
                    for value, tensor in suspects
                    if tensor is not None and value is not None and not math.isfinite(value)
                ),
            }
        )
    return rows


def branch_columns(rows: Sequence[Row], names: Sequence[Sequence[str]]) -> list[Row]:
    """Return `param_norm` and `param_grad_norm` of each unit from its branch's parameters' rows."""
    by_name = {row["name"]: row for row in rows}
    return [
        {
            "param_norm": norm_together([by_name[name] for name in branch], "norm"),
            "param_grad_norm": norm_together([by_name[name] for name in branch], "grad_norm"),
        }
        for branch in names
    ]


def norm_together(rows: Sequence[Row], column: str) -> float | None:
    """Return the norm over several tensors; None if there is none or one of them is not finite."""
    known = [row[column] for row in rows if row[column] is not None]
    if not known or any(row[column] is None and row["nonfinite"] for row in rows):
        return None
    return math.hypot(*known)


def _norms(tensors: list[Tensor]) -> list[float]:
    """Return Frobenius norms, those of small tensors in one copy from the device.

    Small tensors, which are most, are summed in their own dtype, all in one call; what that
    costs in accuracy grows with their size, so large ones are summed in float64.
    """
    small = [index for index, tensor in enumerate(tensors) if tensor.numel() <= _SMALL]
    found = [math.nan] * len(tensors)
    if small:
        quick = torch._foreach_norm([tensors[index] for index in small])  # noqa: SLF001 - no public name
        for index, norm in zip(small, torch.stack(quick).cpu().tolist(), strict=True):
            found[index] = norm
    for index, norm in enumerate(found):
        # Large, or its sum of squares may have left the range of the dtype, one way or the other.
        if not _LEAST < norm < math.inf:
            found[index] = float(torch.linalg.vector_norm(tensors[index], dtype=torch.float64))
    return found


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
