"""The same numbers, slowly: by `torch.autograd.grad` alone, with no hook.

This is what the probe is held against. It keeps every value of the forward pass as a copy
and runs one backward pass a unit and quantity: ∂E/∂x_l and ∂E/∂y_l by differentiating the
loss, the shortcut's and the branch's part as vector-Jacobian products of the addition's two
operands with respect to x_l. It shares with the probe only where the units are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from gradflow.probing.batch_norm import BatchNormMode
from gradflow.probing.loss import Loss
from gradflow.probing.traced import ValueKeeper, traced_forward
from gradflow.record.schema import QUANTILES, conform
from gradflow.tolerances import subtracted_part
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import batch_size
from gradflow.units.finding import describe
from gradflow.units.graph import Port
from gradflow.units.runs import identity_runs
from gradflow.units.tracing import TracedUnit

Array = NDArray[np.float64]


def oracle(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    only: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Return the record's `units` table as plain differentiation gives it.

    Time grows with the square of the number of units, and memory holds all their values:
    for checking on small batches, not for use.

    Args:
        model: the network; left as it was.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.
        only: indices of the units to compute; None computes all. The span columns of a unit
            need all later units of its run.
    """
    keeper = ValueKeeper(copying=True)
    batch = batch_size(inputs)
    with traced_forward(model, inputs, targets, keeper, loss=loss, bn=bn, units=units) as forward:
        tracer, value = forward.tracer, forward.value
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(
            value, [*parameters, *forward.leaves], retain_graph=True, allow_unused=True
        )[: len(parameters)]
        by_parameter: dict[Tensor, Tensor | None] = dict(zip(parameters, gradients, strict=True))
        wanted = range(len(tracer.units)) if only is None else only
        rows = {}
        branches = {}
        for index in wanted:
            unit = tracer.units[index]
            row, branches[index] = _row(unit, keeper, value, batch)
            owned = [parameter.detach() for parameter in unit.branch_parameters]
            row["param_norm"] = _norm(_flat(owned))
            row["param_grad_norm"] = _norm(
                _flat([by_parameter.get(parameter) for parameter in owned_by(unit)])
            )
            rows[index] = row
        for run in identity_runs(tracer.units):
            _add_spans(rows, branches, tracer.units, run.first, run.last, value, batch)
    described = describe(dict(model.named_parameters()), tracer)
    for index, row in rows.items():
        unit_described = described[index]
        row |= {
            "unit": index,
            "name": unit_described.name,
            "stage": unit_described.stage,
            "shortcut": unit_described.shortcut,
            "post_activation": unit_described.post_activation,
            "batch": batch,
        }
    return conform("units", pd.DataFrame(list(rows.values())))


def owned_by(unit: TracedUnit) -> list[Tensor]:
    """Return the branch's parameters that need a gradient."""
    return [parameter for parameter in unit.branch_parameters if parameter.requires_grad]


def _row(
    unit: TracedUnit, keeper: ValueKeeper, loss: Tensor, batch: int
) -> tuple[dict[str, Any], Tensor | None]:
    """Return a unit's columns, and the branch's part of its gradient."""
    x, y, out = (keeper.values.get(port) for port in (unit.fork, unit.total, unit.out))
    h, f = keeper.shortcuts[unit.index], keeper.branches[unit.index]
    g_x, g_y, g_out = (_gradient(loss, port) for port in (unit.fork, unit.total, unit.out))
    row: dict[str, Any] = {
        "numel": math.prod(unit.fork.shape),
        "x_norm": _norm(x),
        "shortcut_norm": _norm(h),
        "branch_norm": _norm(f),
        "sum_norm": _norm(y),
        "out_norm": _norm(out),
        "zero_branch_samples": _zero_samples(f, batch),
        "forward_cosine": _cosine(h, f),
        "grad_in_norm": _norm(g_x),
        "grad_sum_norm": _norm(g_y),
        "grad_out_norm": _norm(g_out),
    }
    if g_x is None:
        return row, None
    if g_y is None:  # the loss sees x_l, and not what the unit makes of it
        return row | {"grad_other_norm": _norm(g_x)}, None
    s = None
    if unit.split is None:
        b = _vjp(unit.total, unit.fork, g_y)
    else:
        operand = unit.split.shortcut_operand
        ports = [unit.operand(index) for index in (operand, 1 - operand)]
        s, b = (_vjp(port, unit.fork, g_y * factor) for port, factor in ports)
        row |= {"backward_cosine": _cosine(s, b), **_sample_columns("", s, b, batch)}
    parts = [part for part in (s, b) if part is not None]
    other = g_x - sum(parts[1:], start=parts[0])
    scale = sum(float(part.double().norm()) for part in (g_x, *parts))
    nothing = float(other.double().norm()) <= subtracted_part(_dtype(g_x)) * scale
    row |= {
        "grad_shortcut_norm": _norm(s),
        "grad_branch_norm": _norm(b),
        "grad_other_norm": 0.0 if nothing else _finite_norm(other),
        "additivity_error": 0.0,
    }
    return row, b


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _add_spans(
    rows: dict[int, dict[str, Any]],
    branches: dict[int, Tensor | None],
    units: list[TracedUnit],
    first: int,
    last: int,
    loss: Tensor,
    batch: int,
) -> None:
    """Fill the columns of the spans from each unit to the run's end, where all units are there."""
    end = _gradient(loss, units[last].total)
    if end is None:
        return
    together = torch.zeros_like(end)
    for index in range(last, first - 1, -1):
        branch = branches.get(index)
        # Of parts that are not finite nobody can say what is left: they end no span.
        if branch is None or rows[index]["grad_other_norm"] not in {0.0, None}:
            return
        together = together + branch
        rows[index]["span_end"] = last + 1
        rows[index] |= _sample_columns("span_", end, together, batch)


def _gradient(loss: Tensor, port: Port) -> Tensor | None:
    """Return ∂E/∂(the value at `port`), or None if the loss does not depend on it."""
    (gradient,) = torch.autograd.grad(
        [loss], [GradientEdge(port.node, port.output)], retain_graph=True, allow_unused=True
    )
    return gradient


def _vjp(output: Port, fork: Port, cotangent: Tensor) -> Tensor:
    if output == fork:
        return cotangent
    (part,) = torch.autograd.grad(
        [GradientEdge(output.node, output.output)],
        [GradientEdge(fork.node, fork.output)],
        [cotangent],
        retain_graph=True,
    )
    return part


def _flat(tensors: Sequence[Tensor | None]) -> Tensor | None:
    known = [tensor.reshape(-1) for tensor in tensors if tensor is not None]
    return torch.cat(known) if known else None


def _double(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().double().cpu().contiguous().numpy())


def _norm(tensor: Tensor | None) -> float | None:
    return None if tensor is None else float(np.linalg.norm(_double(tensor).ravel()))


def _finite_norm(tensor: Tensor) -> float | None:
    norm = _norm(tensor)
    return norm if norm is not None and math.isfinite(norm) else None


def _cosine(first: Tensor | None, second: Tensor | None) -> float | None:
    if first is None or second is None:
        return None
    a, b = _double(first).ravel(), _double(second).ravel()
    sizes = np.linalg.norm(a), np.linalg.norm(b)
    return float(a @ b / sizes[0] / sizes[1]) if all(sizes) else None


def _zero_samples(f: Tensor, batch: int) -> int | None:
    """Return how many samples of F(x_l) are 0; None where its first dimension is not the samples'."""
    if f.shape[0] != batch:
        return None
    return int((_double(f).reshape(batch, -1) == 0).all(axis=1).sum())


def _sample_columns(prefix: str, s: Tensor, b: Tensor, batch: int) -> dict[str, Any]:
    if s.shape[0] != batch:
        return {}
    shortcut, branch = _double(s).reshape(batch, -1), _double(b).reshape(batch, -1)
    squares = (shortcut**2).sum(1)
    used = squares > 0
    rho = (shortcut * branch).sum(1)[used] / squares[used]
    survival = np.linalg.norm(shortcut + branch, axis=1)[used] / np.sqrt(squares[used])
    columns: dict[str, Any] = {}
    rho, survival = rho[np.isfinite(rho)], survival[np.isfinite(survival)]
    for suffix, quantile in QUANTILES.items() if len(rho) else ():
        columns[f"{prefix}cancellation_{suffix}"] = float(np.quantile(rho, quantile))
        columns[f"{prefix}survival_{suffix}"] = float(np.quantile(survival, quantile))
    if not prefix:
        columns["zero_samples"] = int((squares == 0).sum())
    return columns
