"""Numbers on the public architectures of the table: the probe's are the oracle's, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from agreement import both
from architectures import WITH_UNITS
from architectures.row import Architecture
from torch import Tensor, nn

from gradflow.equations.checking import cast
from gradflow.probing import self_test


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


def prepared(row: Architecture) -> nn.Module:
    """Return the row's network in float64, where no parameter is 0: a branch or a head may begin with 0."""
    model = row.build().double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=generator)
    return model


@pytest.mark.parametrize("row", WITH_UNITS, ids=lambda row: row.name)
def test_probe_agrees_with_the_oracle(row: Architecture) -> None:
    """Every column of every unit agrees to rounding."""
    dtype = "float32" if row.single_precision else None
    both(prepared(row), cast(row.inputs(), torch.float64), None, dtype=dtype, loss=loss)


DEMANDING = [
    row
    for row in WITH_UNITS
    if row.name.startswith(
        ("ConvNeXt (", "RepVGG", "CaiT", "XCiT", "Swin V2", "T5", "LXMERT", "Mamba", "ALBERT")
    )
]
"""Rows with gradients that lie in memory in two ways, units in units, side inputs, and shared weights."""


@pytest.mark.parametrize("row", DEMANDING, ids=lambda row: row.name)
def test_hooks_change_no_gradient(row: Architecture) -> None:
    """In float32 the gradients with hooks are those without, bit for bit."""
    result = self_test(prepared(row).float(), row.inputs(), loss=loss)
    assert result.passed, result.lines


def test_the_demanding_rows_are_there() -> None:
    """A renamed row does not drop out of the test above in silence."""
    assert len(DEMANDING) == 10
