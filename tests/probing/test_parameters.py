"""Norms of parameters, large ones included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gradflow.probing.parameters import parameter_columns


def large(dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a convolution's weight of 147,456 elements, far from zero on average."""
    weight = torch.rand(64, 256, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    return weight.to(dtype)


WAYS = {
    "contiguous": large(),
    "channels-last": large().contiguous(memory_format=torch.channels_last),
    "a slice": large().repeat(2, 1, 1, 1)[::2],
    "tiny": large() * 1e-30,
    "huge": large() * 1e30,
    "half": large(torch.bfloat16),
    "a prime number of elements": large().flatten()[:100_003],
}


@pytest.mark.parametrize("way", WAYS)
def test_norms_of_large_parameters(way: str) -> None:
    """To a relative error of 1e-6, however they lie in memory and however large their numbers are."""
    tensor = WAYS[way]
    columns = parameter_columns({"weight": tensor}, {"weight": tensor}, [])
    expected = float(tensor.double().square().sum().sqrt())
    assert columns["norm"].tolist() == pytest.approx([expected], rel=1e-6)
    assert columns["grad_norm"].tolist() == pytest.approx([expected], rel=1e-6)
    assert columns["nonfinite"].tolist() == [0]


def test_large_parameters_that_are_zero_or_not_finite() -> None:
    """Zero has the norm zero; what is not finite has none, and is counted."""
    spoilt = large()
    spoilt[1, 2] = torch.inf
    spoilt[3, 4, 0, 0] = torch.nan
    columns = parameter_columns({"zero": torch.zeros(100_000), "spoilt": spoilt}, {}, [])
    assert columns["norm"][0] == 0
    assert np.isnan(columns["norm"][1])
    assert columns["nonfinite"].tolist() == [0, 10]
