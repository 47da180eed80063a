"""`path_gradients`: the gradient by length of path."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import LinearBranches, rows
from torch import Tensor

import gradflow
from gradflow import build_model, path_gradients
from gradflow.errors import ProbeError
from gradflow.paths.lengths import choose_paths, log_paths
from gradflow.statistics import effective_lengths


def total(outputs: Tensor) -> Tensor:
    """Return a loss whose gradient is 1 everywhere."""
    return outputs.sum()


def test_scalar_net_by_hand(tmp_path: Path) -> None:
    """With F(x) = a x a path of length k has gradient aᵏ √batch, and its share is a binomial's."""
    a, units = 0.5, 6
    record = path_gradients(LinearBranches(*[[[a]]] * units).double(), rows(4, 1, torch.float64), loss=total)
    paths = record.paths
    expected = [math.comb(units, k) * a**k / (1 + a) ** units for k in range(units + 1)]
    assert paths["length"].tolist() == list(range(units + 1))
    assert paths["gradient"].tolist() == pytest.approx([2 * a**k for k in range(units + 1)], rel=1e-14)
    assert paths["share"].tolist() == pytest.approx(expected, rel=1e-12)
    assert effective_lengths(paths)["length"].tolist() == pytest.approx([units * a / (1 + a)], rel=1e-12)
    assert (paths["gradient_error"] <= 1e-15).all()
    record.save(tmp_path / "run")
    assert gradflow.load_record(tmp_path / "run").paths.equals(record.paths)


def test_samples_agree_with_all_paths() -> None:
    """A mean over some paths is within four standard errors of the mean over all, and has such an error."""
    model = build_model("preact20", width=4).double()
    images, targets = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1])
    some, every = (
        path_gradients(model, images, targets, samples=samples).paths.set_index("length")
        for samples in (30, 126)
    )
    assert every["gradient_error"].tolist() == [0.0] * 10
    assert every["samples"].tolist() == [math.comb(9, length) for length in range(10)]
    assert (some["gradient_error"] > 0).tolist() == [math.comb(9, length) > 30 for length in range(10)]
    assert ((some["gradient"] - every["gradient"]).abs() <= 4 * some["gradient_error"]).all()


def test_paths_are_chosen_once() -> None:
    """Of many paths so many different ones come, the same for the same seed; of few, all."""
    chosen = list(choose_paths(54, 27, 50, seed=1))
    assert len(set(chosen)) == len(chosen) == 50
    assert {len(through) for through in chosen} == {27}
    assert chosen == list(choose_paths(54, 27, 50, seed=1))
    assert chosen != list(choose_paths(54, 27, 50, seed=2))
    assert len(set(choose_paths(4, 2, 20, seed=0))) == 6
    assert list(choose_paths(4, 0, 20, seed=0)) == [frozenset()]


@pytest.mark.parametrize(("units", "length"), [(5, 2), (54, 27), (333, 166)])
def test_number_of_paths(units: int, length: int) -> None:
    """Its logarithm is right where the number is too large for a float, too."""
    exact = math.comb(units, length)
    assert log_paths(units, length) == pytest.approx(math.log(exact), rel=1e-12)


def test_gradient_that_is_not_finite_has_no_share() -> None:
    """One NaN path leaves every share unknown, for the shares are of a sum with it."""
    model = LinearBranches([[1.0]], [[float("nan")]])
    paths = path_gradients(model, rows(2, 1), loss=total).paths
    assert np.isnan(paths["share"]).all()
    assert not np.isfinite(effective_lengths(paths)["shortest"]).any()


def test_one_sample_is_refused() -> None:
    """One path has no standard error."""
    with pytest.raises(ProbeError, match="take at least 2"):
        path_gradients(LinearBranches([[1.0]]), rows(2, 1), loss=total, samples=1)
