"""The record's `parameters` table: one row a parameter tensor, stem and head included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.norms import norms_of
from gradflow.units.finding import ResidualUnit

Array = NDArray[np.float64]
Columns = dict[str, Any]


def parameter_columns(
    parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor | None], units: Sequence[ResidualUnit]
) -> Columns:
    """Return the columns of the table, with an entry for each parameter of a network, in its own order.

    Norms that are not finite, or that there are none of, are NaN.

    Args:
        parameters: by name.
        gradients: the gradient of each parameter that needs one, by name; None where none came.
        units: the units, whose branch or shortcut a parameter may belong to.
    """
    owner = {
        name: unit.index
        for unit in reversed(units)  # of several that share a parameter the first has it
        for name in (*unit.branch_parameters, *unit.shortcut_parameters)
    }
    norms, nonfinite = norms_of(list(parameters.values()))
    gradient_norms, nonfinite_gradients = norms_of([gradients.get(name) for name in parameters])
    return {
        "name": list(parameters),
        "unit": np.array([owner.get(name, math.nan) for name in parameters]),
        "numel": np.array([parameter.numel() for parameter in parameters.values()]),
        "norm": norms,
        "grad_norm": gradient_norms,
        "nonfinite": nonfinite + nonfinite_gradients,
    }


def branch_columns(columns: Columns, units: Sequence[ResidualUnit]) -> Columns:
    """Return `param_norm` and `param_grad_norm` of each unit from its branch's parameters' columns."""
    places = {name: place for place, name in enumerate(columns["name"])}
    branches = [[places[name] for name in unit.branch_parameters] for unit in units]
    found: Columns = {}
    for column in ("norm", "grad_norm"):
        norms, nonfinite = columns[column].tolist(), columns["nonfinite"].tolist()
        found[f"param_{column}"] = np.array(
            [norm_together([norms[p] for p in branch], [nonfinite[p] for p in branch]) for branch in branches]
        )
    return found


def norm_together(norms: Sequence[float], nonfinite: Sequence[int]) -> float:
    """Return the norm over several tensors; NaN if there is none or one of them is not finite.

    Args:
        norms: of each; NaN for one that there is none of, or that is not finite.
        nonfinite: how many of its elements are not.
    """
    together = math.hypot(*norms)
    if not math.isnan(together):
        return together if norms else math.nan
    if any(math.isnan(norm) and count > 0 for norm, count in zip(norms, nonfinite, strict=True)):
        return math.nan
    known = [norm for norm in norms if not math.isnan(norm)]
    return math.hypot(*known) if known else math.nan
