"""Gradients along single paths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
import torch
from cases import ZOO, Case, each
from left_alone import Snapshot
from small_networks import Chain, ConvolutionalChain, LinearBranches, labels, pictures, rows, seeded

from gradflow import build_model
from gradflow.errors import ProbeError
from gradflow.probing.blocking import Paths, paths_through
from gradflow.tolerances import oracle_agreement

GATED = Case(
    "gated",
    lambda: build_model("resnet14", shortcut="gate:exclusive,-1", width=4),
    ZOO[0].inputs,
    (),
)
IN_PLACE = Case(
    "in place",
    lambda: seeded(lambda: ConvolutionalChain(lambda x, f: f(x).add_(x), inplace=True)),
    pictures,
    (),
    classes=3,
)


def every_path(count: int) -> Iterator[tuple[int, ...]]:
    """Yield every set of units through whose branches a path may go."""
    for length in range(count + 1):
        yield from combinations(range(count), length)


def sum_over(paths: Paths, chosen: list[tuple[int, ...]]) -> torch.Tensor:
    """Return the sum of the gradients along `chosen`."""
    return sum((paths.gradient(through) for through in chosen[1:]), start=paths.gradient(chosen[0]))


@each([ZOO[0], ZOO[2], GATED, IN_PLACE])
def test_all_paths_add_up_to_the_gradient(case: Case) -> None:
    """By linearity the gradients along all 2ⁿ paths sum to ∂E/∂x₀; with one of them missing they do not."""
    model = case.build().double()
    with paths_through(model, case.inputs().double(), case.targets()) as paths:
        chosen = list(every_path(len(paths.units)))
        whole = paths.whole_gradient()
        together = sum_over(paths, chosen)
        missing = together - paths.gradient(range(len(paths.units)))
    scale = sum(float(value.norm()) for value in (together, whole))
    # Each of 2ⁿ gradients has the error of a pass, in whatever direction.
    tolerance = len(chosen) ** 0.5 * oracle_agreement("float64", 20, 144)
    assert float((together - whole).norm()) <= tolerance * scale
    assert float((missing - whole).norm()) > 1e-3 * float(whole.norm())


def test_path_by_hand() -> None:
    """Through F₀ and the shortcut of unit 1 the gradient is A₀ᵀ g; through both, A₀ᵀ A₁ᵀ g."""
    a, b = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 1.0], [-1.0, 0.5]])
    g = torch.ones(3, 2)
    with paths_through(LinearBranches(a, b), rows(3, 2), loss=lambda outputs: outputs.sum()) as paths:
        assert torch.allclose(paths.gradient({0}), g @ a)
        assert torch.allclose(paths.gradient({0, 1}), g @ b @ a)
        assert torch.equal(paths.gradient(()), g)
        assert torch.allclose(paths.whole_gradient(), g + g @ a + g @ b + g @ b @ a)


def test_block_without_shortcut_is_refused() -> None:
    """A plain network has one path, so there is nothing to choose."""
    model = build_model("plain20", width=4)
    with (
        pytest.raises(ProbeError, match=r"unit stage1\.0 has no shortcut"),
        paths_through(model, torch.randn(2, 3, 8, 8), torch.tensor([0, 1]), units=r"stage\d\.\d+"),
    ):
        pass


def test_everything_is_left_as_it_was() -> None:
    """After a path the whole gradient is what it was before, and the model too, also after an exception."""
    model = seeded(Chain)
    before = Snapshot(model)
    with paths_through(model, rows(), labels()) as paths:
        whole = paths.whole_gradient()
        paths.gradient({1})
        assert torch.equal(paths.whole_gradient(), whole)
    before.assert_unchanged()
    with pytest.raises(KeyError, match="mine"), paths_through(model, rows(), labels()):
        raise KeyError("mine")
    before.assert_unchanged()
