"""Numbers on the public architectures of the table: the probe's are the oracle's, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from agreement import both
from architectures import WITH_UNITS
from architectures.row import Architecture
from torch import Tensor

from gradflow.equations.checking import cast


def first_value(outputs: Any) -> Tensor:
    """Return the first floating-point tensor of what a model returns: a tensor, a tuple or a dict."""
    if isinstance(outputs, Tensor):
        return outputs
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    return first_value(next(iter(values)))


def loss(outputs: Any) -> Tensor:
    """Return a loss whose gradient is another one at each element: normalised outputs have equal squares."""
    value = first_value(outputs)
    weights = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    return (weights * value).square().mean()


@pytest.mark.parametrize("row", WITH_UNITS, ids=lambda row: row.name)
def test_probe_agrees_with_the_oracle(row: Architecture) -> None:
    """Every column of every unit agrees to rounding."""
    both(row.build().double(), cast(row.inputs(), torch.float64), None, loss=loss)
