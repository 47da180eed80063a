"""Norms and inner products: right to 1e-6 whatever the size, the layout and the sign of the numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradflow.probing.kernels import sum_squares
from gradflow.probing.reductions import Reducer

RIGHT = 1e-6
"""What measurements.md promises of a norm in float32."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal noise in float32."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_norms_are_right(value: Tensor, batch: int | None = None) -> None:
    """Hold each sample's norm, and the whole batch's, against sums in float64."""
    samples = len(value) if batch is None else 1
    found = Reducer(batch or samples).squares(value)
    expected = value.double().reshape(samples, -1).square().sum(1)
    assert found.per_sample.shape == (samples,)
    assert found.per_sample.dtype == torch.float64
    assert int(found.nonfinite) == 0
    assert torch.allclose(found.per_sample.sqrt(), expected.sqrt(), rtol=RIGHT, atol=0.0)
    assert math.isclose(float(found.total.sqrt()), float(expected.sum().sqrt()), rel_tol=RIGHT)


LAYOUTS = {
    "contiguous": lambda: noise(4, 8, 6, 6),
    "channels last": lambda: noise(4, 8, 6, 6).to(memory_format=torch.channels_last),
    "transposed": lambda: noise(4, 6, 8).transpose(1, 2),
    "samples innermost": lambda: noise(8, 6, 4).permute(2, 0, 1),
    "every other column": lambda: noise(4, 32, 10)[:, ::2, 1:-1],
    "reversed": lambda: noise(4, 10, 3).flip(1),
    "expanded": lambda: noise(4, 1, 5).expand(4, 7, 5),
    "five dimensions": lambda: noise(4, 2, 3, 4, 5),
    "five dimensions, channels last": lambda: noise(4, 8, 3, 4, 5).to(memory_format=torch.channels_last_3d),
    "tokens": lambda: noise(4, 16, 64),
    "vectors": lambda: noise(4, 3),
    "one number a sample": lambda: noise(4),
    "a row of a power of two": lambda: noise(4, 4096),
    "a row of a prime": lambda: noise(4, 1009),
    "many pieces": lambda: noise(4, 300_000),
    "one sample": lambda: noise(1, 5, 5),
    "many small samples": lambda: noise(3000, 5),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_in_every_layout(layout: str) -> None:
    """The memory layout is no part of a norm."""
    assert_norms_are_right(LAYOUTS[layout]())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_norms_of_biased_numbers(layout: str) -> None:
    """All-positive numbers, on which rounding errors add up, are no worse."""
    assert_norms_are_right(LAYOUTS[layout]().abs() + 3)


@pytest.mark.parametrize("constant", [1.1, 0.7, 1.3627411127090454, 1.3263170719146729])
@pytest.mark.parametrize("length", [1024, 65536, 1009, 192])
def test_norms_of_constants(constant: float, length: int) -> None:
    """Equal numbers are the worst case: each addition rounds in the same direction."""
    assert_norms_are_right(torch.full((2, length), constant))


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-15, 1e15, 1e25, 1e37])
def test_norms_of_tiny_and_huge_numbers(scale: float) -> None:
    """Squares that leave the range of float32 are summed in float64."""
    assert_norms_are_right(noise(4, 6, 16).clamp(-2, 2) * scale)


@pytest.mark.parametrize("scale", [1e-25, 1e-20])
def test_norms_of_a_tiny_sample_beside_ordinary_ones(scale: float) -> None:
    """A sample's norm is right whatever its neighbours are: a sample fitted well has a tiny gradient."""
    value = noise(4, 64)
    value[2] *= scale
    assert_norms_are_right(value)


def test_norms_of_a_huge_sample_beside_ordinary_ones() -> None:
    """Nor does a sample that overflows spoil the others."""
    value = noise(4, 64)
    value[2] *= 1e25
    assert_norms_are_right(value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
    exponent=st.integers(-30, 30),
    offset=st.sampled_from([0.0, 0.5, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_norms_of_anything(shape, order, exponent: int, offset: float, seed: int) -> None:
    """Any shape, any order of the inner dimensions, any size and any offset."""
    inner = list(range(1, len(shape)))
    order.shuffle(inner)
    value = ((noise(*shape, seed=seed) + offset) * 10.0**exponent).permute([0, *inner])
    assert_norms_are_right(value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_norms_in_other_dtypes(dtype: torch.dtype) -> None:
    """Every floating-point dtype is summed as accurately."""
    assert_norms_are_right(noise(3, 5, 7).to(dtype))


def test_float64_is_right_to_rounding() -> None:
    """In float64 the sum is as good as float64 allows."""
    value = noise(3, 5000).double()
    expected = value.square().sum(1)
    assert torch.allclose(Reducer(3).squares(value).per_sample, expected, rtol=1e-14, atol=0.0)


def test_zeros() -> None:
    """A tensor of zeros has norm 0, of each sample and of all."""
    found = Reducer(3).squares(torch.zeros(3, 40))
    assert found.per_sample.tolist() == [0, 0, 0]
    assert int(found.nonfinite) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_non_finite_elements_are_counted(dtype: torch.dtype) -> None:
    """NaN and both infinities are counted; the samples without one keep their norms."""
    value = noise(4, 3, 8).to(dtype)
    value[1, 0, :2] = math.nan
    value[1, 1, 0] = math.inf
    value[3, 2, 7] = -math.inf
    found = Reducer(4).squares(value)
    assert int(found.nonfinite) == 4
    assert [math.isfinite(number) for number in found.per_sample] == [True, False, True, False]
    assert float(found.per_sample[0]) == pytest.approx(float(value[0].double().square().sum()), rel=1e-6)


def test_a_batch_that_is_not_the_first_dimension_is_one_sample() -> None:
    """Where the first dimension is another one, such as a sequence, the norm is of the whole tensor."""
    value = noise(7, 4, 5)
    found = Reducer(4).squares(value)
    assert found.per_sample.shape == (1,)
    assert float(found.total) == pytest.approx(float(value.double().square().sum()), rel=RIGHT)


def test_a_number_is_one_sample() -> None:
    """A tensor without dimensions is reduced too."""
    assert Reducer(4).squares(torch.tensor(3.0)).per_sample.tolist() == [9.0]


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed", "many pieces"])
def test_inner_products(layout: str, scale: float) -> None:
    """⟨a, b⟩ of each sample is right relative to ‖a‖ ‖b‖, in mixed layouts and at every size."""
    second = LAYOUTS[layout]() * scale
    first = (noise(*second.shape, seed=1) + 1) * scale
    inner = Reducer(4).inner(first, second)
    wide, other = (value.double().reshape(4, -1) for value in (first, second))
    assert inner.dtype == torch.float64
    error = (inner - (wide * other).sum(1)).abs() / wide.norm(dim=1) / other.norm(dim=1)
    assert float(error.max()) <= RIGHT


def test_inner_product_with_nan_is_nan_for_its_sample_alone() -> None:
    """A sample with a NaN has no inner product; the others have theirs."""
    first, second = noise(3, 20), noise(3, 20, seed=1)
    second[1, 4] = math.nan
    inner = Reducer(3).inner(first, second)
    assert [math.isnan(number) for number in inner] == [False, True, False]


def test_no_measurement_takes_another_one_s_place() -> None:
    """Numbers stay what they are while hundreds of further ones are made, read at once or at the end."""
    reducer = Reducer(2)
    inner = reducer.inner(torch.ones(2, 8), torch.ones(2, 8))
    squares = [reducer.sum_squares(torch.full((2, 8), float(number))) for number in range(300)]
    pairs = [reducer.pair(torch.full((2, 8), float(number)), torch.ones(2, 8)) for number in range(300)]
    at_once = reducer.squares(torch.full((2, 8), 5.0))
    assert inner.tolist() == [8, 8]
    assert at_once.per_sample.tolist() == [200, 200]
    for number, (one, two) in enumerate(zip(squares, pairs, strict=True)):
        assert one.read().per_sample.tolist() == [8.0 * number**2] * 2
        assert one.read() is one.read()
        assert two.read().inner.tolist() == [8.0 * number] * 2


def test_a_batch_larger_than_the_room_is_measured_whole() -> None:
    """More samples than the results of one measurement have room for, and small ones after it."""
    reducer = Reducer(40_000)
    large = torch.arange(40_000.0).remainder(7)[:, None]
    found = [reducer.sum_squares(value) for value in (large, large[:4], large)]
    assert [one.read().per_sample.tolist() == large.square()[:, 0].tolist() for one in found] == [
        True,
        False,
        True,
    ]
    assert found[1].read().per_sample.tolist() == [0 + 1 + 4 + 9]


def exact_squares(row: Tensor) -> float:
    """Return Σ v² of one row, rounded once: each v² is exact in a fraction."""
    return float(sum(Fraction(number) ** 2 for number in row.tolist()))


ROWS = {
    "one element": noise(3, 1),
    "an odd length": noise(2, 257),
    "one block and one element": noise(2, 4097),
    "several stretches": noise(1, 9001) + 2,
    "underflow in one stretch alone": torch.cat([noise(2, 4096), noise(2, 4096) * 1e-30], dim=1),
    "underflow of everything": noise(2, 300) * 1e-30,
    "overflow in one stretch alone": torch.cat([noise(2, 4096), noise(2, 700) * 1e30], dim=1),
    "subnormal numbers": torch.full((2, 70), 1e-44),
    "zeros in whole stretches": torch.cat([torch.zeros(2, 4096), noise(2, 10)], dim=1),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_the_kernel_s_sums_of_squares(rows: str, dtype: torch.dtype) -> None:
    """The kernel alone, against sums of fractions: right to 1e-6 in float32, to rounding in float64."""
    values = ROWS[rows].to(dtype)
    sums, counts = np.zeros((len(values), 1)), np.zeros((len(values), 1), dtype=np.int64)
    what = values.data_ptr(), tuple(values.shape), values.numpy().dtype.type(0)
    assert sum_squares(*what, sums, counts, 0) == 0
    assert not counts.any()
    expected = [exact_squares(row) for row in values]
    assert sums[:, 0].tolist() == pytest.approx(
        expected, rel=2e-6 if dtype is torch.float32 else 1e-14, abs=0
    )
    again = np.zeros_like(sums)
    sum_squares(*what, again, counts, 0)
    assert np.array_equal(sums, again)


def test_the_kernel_counts_what_is_not_finite_row_by_row() -> None:
    """A NaN and infinities are counted where they are, and leave the other rows alone."""
    values = noise(4, 5000)
    values[1, 4500] = math.nan
    values[3, :2] = math.inf
    sums, counts = np.zeros((6, 1)), np.zeros((6, 1), dtype=np.int64)
    assert sum_squares(values.data_ptr(), tuple(values.shape), np.float32(0), sums, counts, 2) == 2
    assert counts[:, 0].tolist() == [0, 0, 0, 1, 0, 2]
    assert sums[:2, 0].tolist() == [0, 0]  # somebody else's rows
    assert np.isnan(sums[3, 0])
    assert np.isinf(sums[5, 0])
    assert sums[[2, 4], 0].tolist() == pytest.approx([exact_squares(values[row]) for row in (0, 2)], rel=2e-6)


@pytest.mark.parametrize("length", [2**17, 2**17 + 1, 80_000])
def test_one_long_sample_is_the_same_to_the_bit_every_time(length: int) -> None:
    """What threads share does not depend on how many there are, and all that is not finite is counted."""
    value = noise(length)
    first, again = (Reducer(-1).squares(value) for _ in range(2))
    numba.set_num_threads(1)
    try:
        alone = Reducer(-1).squares(value)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert first.per_sample.shape == (1,)
    assert first.per_sample.tolist() == again.per_sample.tolist() == alone.per_sample.tolist()
    assert float(first.total) == pytest.approx(float(value.double().square().sum()), rel=2e-6)
    value[[0, length // 2, -1]] = math.inf
    assert int(Reducer(-1).squares(value).nonfinite) == 3


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs(layout: str, scale: float) -> None:
    """What is measured of two tensors together is what is measured of each, and of their sum."""
    first = LAYOUTS[layout]() * scale
    second = (noise(*first.shape, seed=1) + 1) * scale
    reducer = Reducer(len(first))
    pair = reducer.pair(first, second).read()
    total, added = reducer.add(first, second, first)
    same = added.read()
    product = same.with_reference
    assert torch.equal(total, first + second)
    for found in (pair, same):
        for squares, value in ((found.first, first), (found.second, second), (found.total, total)):
            if squares is not None:
                assert torch.allclose(squares.per_sample, reducer.squares(value).per_sample, rtol=RIGHT)
        size = (pair.first.per_sample * pair.second.per_sample).sqrt()
        assert float(((found.inner - reducer.inner(first, second)).abs() / size).max()) <= RIGHT
    assert same.total is not None
    assert product is not None
    assert float(((product - pair.inner).abs() / size).max()) <= RIGHT


def test_pairs_with_nothing_and_with_nan() -> None:
    """Zeros have norm zero, and a NaN spoils its own sample alone."""
    first, second = noise(3, 20), torch.zeros(3, 20)
    first[1, 4] = math.nan
    for measured in (Reducer(3).pair(first, second), Reducer(3).add(first, second, None)[1]):
        pair = measured.read()
        assert pair.second.per_sample.tolist() == [0, 0, 0]
        assert [math.isnan(number) for number in pair.first.per_sample] == [False, True, False]
        assert int(pair.first.nonfinite) == 1


def test_zero_by_infinity_is_no_number_and_no_warning() -> None:
    """Samples of a network that diverged: what has no product has none, the others have theirs."""
    first, second = torch.zeros(2, 6), torch.full((2, 6), float("inf"))
    first[1] = second[1] = 2.0
    assert Reducer(2).inner(first, second).isnan().tolist() == [True, False]
    assert Reducer(2).inner(first, second)[1] == 24


def test_complex_values_are_pairs_of_numbers() -> None:
    """‖z‖² is that of its real and imaginary parts, conjugated or not, and ⟨z, w⟩ is Re Σ z̄ w."""
    generator = torch.Generator().manual_seed(0)
    z, w = (torch.randn(3, 5, generator=generator, dtype=torch.complex128) for _ in range(2))
    reducer = Reducer(3)
    assert reducer.squares(z.conj()).per_sample.tolist() == pytest.approx(z.abs().square().sum(1).tolist())
    expected = (z.conj() * w).real.sum(1).tolist()
    assert reducer.pair(z, w).read().inner.tolist() == pytest.approx(expected)


def test_tensors_without_memory() -> None:
    """Zeros that torch keeps no memory for, and tensors of no element, are no reason to read any."""
    assert Reducer(4).squares(torch._efficientzerotensor((4, 3))).per_sample.tolist() == [0] * 4
    assert Reducer(4).squares(torch.zeros(4, 0)).per_sample.tolist() == [0] * 4
