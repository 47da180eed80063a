"""What the shortcuts alone hand back, beside the whole gradient: the paper's λ^k, measured.

Multiplying measured gains of single shortcuts gives λ^k by construction. Here the branches are
blocked in a backward pass of the real network instead, and what arrives is set beside what
arrives in the whole pass.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradflow.determinism import full_precision
from gradflow.equations.held import held_shortcut
from gradflow.equations.spans import chains
from gradflow.probing import BatchNormMode, Loss
from gradflow.probing.capture import Capture, captured
from gradflow.units import Inputs, UnitSelection
from gradflow.units.eager import eager
from gradflow.units.runs import Run

COLUMNS = (
    "unit",
    "name",
    "stage",
    "shortcut",
    "post_activation",
    "span_end",
    "units_between",
    "end_norm",
    "whole_norm",
    "blocked_norm",
    "whole_gain",
    "blocked_gain",
    "predicted_gain",
)
"""Columns of what `shortcut_gains` returns."""


def shortcut_gains(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
) -> pd.DataFrame:
    """Measure what of ∂E/∂x_L comes back to x_l through the shortcuts alone, and in all.

    One forward pass, one whole backward pass, and one a stage with every branch blocked
    (He et al. 2016, eq. 8: Π λ_i ∂E/∂x_L is what must arrive then). Spans run from each unit to
    the end of its chain, inside which shapes and f do not change.

    Args:
        model: the network, in any dtype; left as it was.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.

    Returns:
        one row for each unit l of a chain that ends at x_L, with l < L: `unit` (l), `name`, `stage`,
        `shortcut`, `post_activation`, `span_end` (L), `units_between` (k = L − l), `end_norm`
        ‖∂E/∂x_L‖, `whole_norm` ‖∂E/∂x_l‖, `blocked_norm` (with the branches blocked),
        `whole_gain` and `blocked_gain` (both over `end_norm`), and `predicted_gain`, |Π λ_i| where every
        shortcut multiplies by a constant, else null. What is not finite is null.

    Raises:
        NoResidualUnitError: if there is no unit.
        ProbeError: if there is no scalar loss with a gradient.
    """
    rows: list[dict[str, Any]] = []
    with (
        full_precision(),
        captured(eager(model), inputs, targets, loss=loss, bn=bn, units=units) as as_read,
    ):
        capture = as_read.ending_at_additions()
        for chain in chains(capture):
            arriving = capture.gradients.get(capture.units[chain.last].out)
            if arriving is not None:
                rows += _chain_rows(capture, chain, arriving)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _chain_rows(capture: Capture, chain: Run, arriving: Tensor) -> list[dict[str, Any]]:
    end = _norm(arriving)
    blocked = capture.shortcut_path(chain.first, chain.last, arriving)
    rows: list[dict[str, Any]] = []
    predicted: float | None = 1.0
    for unit in reversed(capture.units[chain.first : chain.end]):
        held = held_shortcut(unit, torch.float64)
        factor = None if held is None else held.factor
        if predicted is not None and isinstance(factor, float) and unit.post_activation == "identity":
            predicted *= abs(factor)
        else:
            predicted = None
        whole = _norm(capture.gradients.get(unit.fork))
        alone = _norm(blocked[unit.index - chain.first])
        rows.append(
            {
                "unit": unit.index,
                "name": unit.name,
                "stage": chain.stage,
                "shortcut": unit.shortcut,
                "post_activation": unit.post_activation,
                "span_end": chain.end,
                "units_between": chain.end - unit.index,
                "end_norm": end,
                "whole_norm": whole,
                "blocked_norm": alone,
                "whole_gain": whole / end if end else math.nan,
                "blocked_gain": alone / end if end else math.nan,
                "predicted_gain": math.nan if predicted is None else predicted,
            }
        )
    return rows[::-1]


def _norm(tensor: Tensor | None) -> float:
    """Return the Euclidean norm, NaN if it is not finite; nothing has the norm 0."""
    if tensor is None:
        return 0.0
    norm = float(torch.linalg.vector_norm(tensor.double()))
    return norm if math.isfinite(norm) else math.nan
