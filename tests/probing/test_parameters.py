"""Norms of parameters, large ones included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_networks import WIDTH, labels, rows
from torch import Tensor, nn

from gradflow.probing import probe
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
    "double": large(torch.float64),
    "transposed": large().flatten(1).t(),
    "one number for all": torch.full((1,), 0.3).expand(100_000),
    "of a class of its own": large().as_subclass(type("Marked", (Tensor,), {})),
    "small": large().flatten()[1:4],
    "small and half": large(torch.float16).flatten()[1:4],
    "a scalar": torch.tensor(-3.0),
    "sparse": torch.sparse_coo_tensor(
        torch.tensor([[1, 1, 4]]), large().flatten(1)[:3], (9, 2304), check_invariants=True
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_norms_of_parameters(way: str) -> None:
    """Right in float64, however they lie in memory, whatever their dtype and however large they are."""
    tensor = WAYS[way]
    columns = parameter_columns({"weight": tensor}, {"weight": tensor}, [])
    numbers = tensor.to_dense().as_subclass(Tensor).double()
    expected = math.sqrt(math.fsum(number * number for number in numbers.flatten().tolist()))
    assert columns["norm"].tolist() == pytest.approx([expected], rel=1e-12)
    assert columns["grad_norm"].tolist() == pytest.approx([expected], rel=1e-12)
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


def test_parameters_of_several_kinds_keep_their_places() -> None:
    """Each row has its own tensor's numbers, whatever reads it; one without a gradient has no norm of it."""
    parameters = {
        "single": torch.tensor([3.0, 4.0]),
        "spoilt half": torch.tensor([math.nan, 1.0, -math.inf], dtype=torch.float16),
        "double": torch.tensor([5.0, 12.0], dtype=torch.float64),
        "empty": torch.zeros(0),
        "half": torch.tensor([8.0, 15.0], dtype=torch.float16),
        "spoilt": torch.tensor([math.inf, 1.0]),
        "overflowing": torch.tensor([1e200, 1.0], dtype=torch.float64),
    }
    columns = parameter_columns(parameters, {"double": torch.tensor([7.0, 24.0])}, [])
    assert columns["norm"].tolist() == pytest.approx(
        [5.0, math.nan, 13.0, 0.0, 17.0, math.nan, math.nan], nan_ok=True
    )
    none = [math.nan] * 2
    assert columns["grad_norm"].tolist() == pytest.approx([*none, 25.0, *none, *none], nan_ok=True)
    assert columns["nonfinite"].tolist() == [0, 2, 0, 0, 0, 1, 0]
    assert columns["numel"].tolist() == [2, 3, 2, 0, 2, 2, 2]


def test_complex_weights() -> None:
    """A network in the frequency domain has complex weights, whose norm is that of their parts."""

    class Fourier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(WIDTH, WIDTH)
            self.weight = nn.Parameter(torch.ones(WIDTH // 2 + 1, dtype=torch.complex64) * (3 + 4j))
            self.head = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(x + torch.fft.irfft(torch.fft.rfft(x) * self.weight, WIDTH))

    parameters = probe(Fourier(), rows(), labels()).parameters.set_index("name")
    assert parameters.loc["weight", "norm"] == pytest.approx(5 * (WIDTH // 2 + 1) ** 0.5)
