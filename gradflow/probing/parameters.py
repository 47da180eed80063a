"""The record's `parameters` table: one row a parameter tensor, stem and head included."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.reductions import Reducer
from gradflow.units.finding import ResidualUnit

Array = NDArray[np.float64]
Columns = dict[str, Any]

_SMALL = 65536
"""Elements up to which a norm in float32 is right to 5e-7."""

_AS_ONE_SAMPLE = Reducer(-1)
"""No tensor's first dimension has that length, so each is reduced as a whole."""

_LEAST = 1e-15
"""Norm below which squares may have underflowed in float32."""


@torch.no_grad()
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
    owner: dict[str, int] = {}
    for unit in units:
        for name in (*unit.branch_parameters, *unit.shortcut_parameters):
            owner.setdefault(name, unit.index)
    found = [gradients.get(name) for name in parameters]
    norms, nonfinite = _norms(list(parameters.values()))
    gradient_norms, nonfinite_gradients = _norms(found)
    return {
        "name": list(parameters),
        "unit": [owner.get(name) for name in parameters],
        "numel": [parameter.numel() for parameter in parameters.values()],
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


def _norms(tensors: Sequence[Tensor | None]) -> tuple[Array, NDArray[np.int64]]:
    """Return Frobenius norms, those of small tensors in one copy from the device, and non-finite elements.

    Small tensors, which are most, are summed in their own dtype, all in one call; what that
    costs in accuracy grows with their size, so large ones are summed block by block.
    """
    norms, nonfinite = np.full(len(tensors), np.nan), np.zeros(len(tensors), dtype=np.int64)
    small = {
        index: tensor
        for index, tensor in enumerate(tensors)
        if tensor is not None and tensor.numel() <= _SMALL
    }
    if small:
        quick = torch._foreach_norm(list(small.values()))  # noqa: SLF001 - no public name
        norms[list(small)] = torch.stack(quick).cpu().double().numpy()
    # A bias is often zero, and then its largest element tells so.
    vanishing = [index for index in small if norms[index] == 0]
    if vanishing and torch.cat([small[index].flatten() for index in vanishing]).any():
        largest = torch._foreach_norm([small[index] for index in vanishing], math.inf)  # noqa: SLF001 - as above
        norms[vanishing] = np.where(torch.stack(largest).cpu().double().numpy() == 0, 0.0, np.nan)
    # Large, or its sum of squares may have left the range of the dtype, one way or the other.
    for index in np.flatnonzero(~((norms > _LEAST) & (norms < math.inf) | (norms == 0))).tolist():
        tensor = tensors[index]
        if tensor is not None:
            squares = _AS_ONE_SAMPLE.squares(tensor.detach())
            norms[index] = math.sqrt(squares.total) if math.isfinite(squares.total) else math.nan
            nonfinite[index] = int(squares.nonfinite.sum())
    return norms, nonfinite
