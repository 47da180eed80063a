"""Adding the parts of a gradient in the engine's place: the same bits, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from torch import Tensor, nn

from gradflow.probing import oracle, probe, self_test
from gradflow.probing.kernels import add_and_sum, sum_products
from gradflow.probing.parts import PartReader, UnaddableError
from gradflow.probing.reductions import Reducer


class _GivesNothing(torch.autograd.Function):
    """The identity, whose backward pass says that no gradient flows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - torch passes it
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:  # noqa: ARG004 - as above
        return None


class Silent(nn.Module):
    """x + F(x) where the gradient of F ends before it reaches x."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.branch = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(x + self.branch(_GivesNothing.apply(x)))


def test_a_part_that_never_comes_is_left_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last part is missing, the sum cannot be handed on: the passes run again without adding."""
    modes: list[bool] = []
    make = PartReader.__init__

    def noted(self: PartReader, *args: Any, in_place_of_engine: bool = False) -> None:
        modes.append(in_place_of_engine)
        make(self, *args, in_place_of_engine=in_place_of_engine)

    monkeypatch.setattr(PartReader, "__init__", noted)
    model = seeded(Silent).double()
    record = probe(model, rows().double(), labels())
    units = record.units
    assert modes == [True, False]
    assert units["grad_in_norm"].tolist() == units["grad_shortcut_norm"].tolist()
    assert units["grad_branch_norm"].isna().all()
    torch.nn.functional.cross_entropy(model(rows().double()), labels()).backward()
    assert model.stem.weight.grad is not None
    norms = record.parameters.set_index("name")["grad_norm"]
    assert norms["stem.weight"] == pytest.approx(float(model.stem.weight.grad.norm()), rel=1e-12)


def test_the_engine_is_handed_the_sum_that_it_would_make() -> None:
    """Loss and parameter gradients have the same bits with and without hooks."""
    assert self_test(seeded(Chain), rows(), labels()).passed


def test_a_gradient_that_is_changed_on_its_way_is_noticed() -> None:
    """Where a hook of the user's changes ∂E/∂x_l, the parts no longer add up to it, by as much."""

    class Doubled(Chain):
        def forward(self, x: Tensor) -> Tensor:
            y = x
            for index, part in enumerate(self.branches):
                if index == 1:
                    y.register_hook(lambda gradient: 2 * gradient)
                y = y + part(y)
            return self.head(y)

    units = probe(seeded(Doubled), rows(), labels()).units
    errors = units["additivity_error"].tolist()
    assert errors[1] == pytest.approx(0.5, rel=1e-6)
    assert errors[2] == 0


def test_three_parts_are_added_in_the_engine_s_order() -> None:
    """Query, key and value leave the fork by three edges beside the shortcut's."""

    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
            self.parts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            a, b, c = (part(x) for part in self.parts)
            return self.head(x + torch.tanh(a) * b + torch.tanh(c) * a)

    model = seeded(Three)
    assert self_test(model, rows(), labels()).passed
    measured, expected = (
        function(model.double(), rows().double(), labels())
        for function in (lambda *a: probe(*a).units, oracle)
    )
    for column in ("grad_branch_norm", "grad_shortcut_norm", "grad_in_norm"):
        assert measured[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("length", [1, 255, 256, 1000, 9000])
def test_kernels(dtype: torch.dtype, length: int) -> None:
    """The sums are those of float64, and the sum of two arrays has the bits of torch's."""
    generator = torch.Generator().manual_seed(length)
    a, b, r = (torch.randn(3, length, generator=generator, dtype=dtype) for _ in range(3))
    t, like = torch.empty_like(a), a.numpy().dtype.type(0)
    for in_place in (False, True):
        second = b.clone()
        total = second if in_place else t
        sums, counts = np.zeros((3, 5)), np.zeros((3, 3), dtype=np.int64)
        at = (value.data_ptr() for value in (a, second, r, total))
        assert add_and_sum(*at, (3, length), like, sums, counts, 0, in_place) == 0
        assert torch.equal(total, a + b)
        assert in_place or torch.equal(second, b)
        wide = [value.double() for value in (a, b, a + b)]
        expected = [value.square().sum(1) for value in wide]
        expected += [(first.double() * second.double()).sum(1) for first, second in ((a, b), (b, r))]
        size = a.double().norm(dim=1) * b.double().norm(dim=1) + r.double().square().sum(1)
        assert float(((torch.from_numpy(sums.T) - torch.stack(expected)).abs() / size).max()) < 1e-6
    fewer = np.zeros((3, 5))
    assert sum_products(a.data_ptr(), b.data_ptr(), (3, length), like, fewer, counts, 0) == 0
    assert np.allclose(fewer[:, :4], sums[:, :4], rtol=1e-6, atol=1e-6)


def test_unaddable_is_no_error_of_the_user_s() -> None:
    """It never leaves the probe, so it is none of gradflow's public errors."""
    import gradflow

    assert not issubclass(UnaddableError, gradflow.GradflowError)


@pytest.mark.parametrize("spoilt", [1e-30, float("nan"), float("inf")])
@pytest.mark.parametrize("in_place", [False, True])
def test_doubtful_samples_are_added_once(spoilt: float, in_place: bool) -> None:
    """A sample whose squares leave float32 is summed again in float64, and added like the others."""
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(4, 300, generator=generator) for _ in range(2))
    first[2] *= spoilt
    second[2] *= 1e-30
    expected, before = first + second, second.clone()
    total, measured = Reducer(4).add(first, second, first, in_place=in_place)
    assert torch.equal(total, expected) or spoilt != 1e-30
    assert torch.allclose(total, expected, rtol=0.0, atol=0.0, equal_nan=True)
    assert (total.data_ptr() == second.data_ptr()) is in_place
    if not in_place:
        assert torch.equal(second, before)
    pair = measured.read()
    assert pair.total is not None
    for squares, value in ((pair.first, first), (pair.second, before), (pair.total, expected)):
        wide = value.double().square().sum(1)
        assert torch.allclose(squares.per_sample, wide, rtol=1e-6, atol=0.0, equal_nan=True)
        assert int(squares.nonfinite) == int((~value.isfinite()).sum())


class Add(torch.autograd.Function):
    """2 x, whose backward pass writes into what arrives; called as torch's addition is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004 - torch passes it
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004 - as above
        return gradient.mul_(2)


class _Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Add.apply(x)


def test_what_arrives_is_read_before_it_is_written_to() -> None:
    """A block of one operation, which is read at both of its ends: the gradient doubles in it."""
    model = seeded(lambda: nn.Sequential(nn.Linear(4, 4), _Doubling(), nn.Linear(4, 3)))
    found = probe(model, rows(5, 4), labels(5), units=["1"]).units
    assert found["grad_in_norm"].tolist() == pytest.approx((2 * found["grad_sum_norm"]).tolist())
