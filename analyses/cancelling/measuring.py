"""Cancellation and survival of every sample, in every identity unit and span.

The record has quantiles over samples; how many samples come how near to cancellation takes them all. The
numbers are those of measurements: ρ = ⟨b, s⟩ / ‖s‖² and ‖s + b‖ / ‖s‖ for each sample, s the shortcut's part
of the gradient and b the branch's. In a span from l to L, s = ∂E/∂x_L and b = Σ b_i.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradflow.checkpoint import Checkpoint, load_into
from gradflow.models import build_model
from gradflow.probing import BatchNormMode
from gradflow.probing.capture import Capture, captured
from gradflow.units.finding import stages
from gradflow.units.runs import identity_runs


def network(name: str, seed: int, checkpoint: Checkpoint | None) -> nn.Module:
    """Return the network with the weights that `seed` or the checkpoint gives it."""
    model = build_model(name, seed=seed)
    if checkpoint is not None:
        load_into(model, checkpoint)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's overloads


def per_sample(model: nn.Module, inputs: Tensor, targets: Tensor, bn: BatchNormMode) -> pd.DataFrame:
    """Return one row a unit with identity shortcut and sample.

    Args:
        model: the network; it is left as it was.
        inputs: images (batch, channels, height, width).
        targets: labels (batch,).
        bn: `frozen` or `running`, in which samples do not depend on each other.

    Returns:
        `unit`, `stage`, `sample`, `cancellation`, `survival`, and for units of the form of eq. 3 `span`
        (units to the end of the run), `span_cancellation` and `span_survival`; null where ‖s‖ = 0.
    """
    with captured(model, inputs, targets, bn=bn) as capture:
        spans, stage = dict(_spans(capture)), stages(capture.units)
        frames = [
            pd.DataFrame(
                {
                    "unit": index,
                    "stage": stage[index],
                    "sample": range(len(inputs)),
                    **numbers,
                    **spans.get(index, {}),
                }
            )
            for index, numbers in _units(capture)
        ]
    return pd.concat(frames, ignore_index=True)


def _units(capture: Capture) -> Iterator[tuple[int, dict[str, Any]]]:
    for unit, branch in zip(capture.units, capture.branch_parts, strict=True):
        if unit.shortcut == "identity" and branch is not None:
            yield unit.index, _statistics("", capture.gradients[unit.total], branch)


def _spans(capture: Capture) -> Iterator[tuple[int, dict[str, Any]]]:
    for run in identity_runs(capture.units):
        arriving = capture.gradients[capture.units[run.last].total]
        total = torch.zeros_like(arriving, dtype=torch.float64)
        for index in range(run.last, run.first - 1, -1):
            branch = capture.branch_parts[index]
            assert branch is not None, "a loss that reaches x_L reaches the branches before it"
            total += branch
            yield index, {"span": run.end - index, **_statistics("span_", arriving, total)}


def _statistics(prefix: str, shortcut: Tensor, branch: Tensor) -> dict[str, Any]:
    s, b = (part.double().flatten(1) for part in (shortcut, branch))
    squared = (s * s).sum(1)
    squared[squared == 0] = torch.nan
    return {
        f"{prefix}cancellation": ((s * b).sum(1) / squared).tolist(),
        f"{prefix}survival": ((s + b).norm(dim=1) / squared.sqrt()).tolist(),
    }
