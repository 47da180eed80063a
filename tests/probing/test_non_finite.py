"""Networks with NaN, infinity, or numbers near the ends of float32: measured, counted, never hidden."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded

import gradflow
from gradflow import probe

FORWARD = ("x_norm", "shortcut_norm", "branch_norm", "sum_norm", "out_norm", "forward_cosine")
BACKWARD = ("grad_in_norm", "grad_sum_norm", "grad_branch_norm", "backward_cosine", "additivity_error")


def network(value: float = math.nan) -> Chain:
    """Return three units, with one bad weight in the branch of the second."""
    model = seeded(Chain)
    with torch.no_grad():
        model.branches[1][0].weight[0, 0] = value
    return model


def test_nan_weights_are_probed_and_counted() -> None:
    """What a NaN reaches is null and counted, and what it does not reach has its numbers."""
    units = probe(network(), rows(), labels()).units
    assert units["branch_norm"].isna().tolist() == [False, True, True]
    assert units["x_norm"].isna().tolist() == [False, False, True]
    assert units["grad_in_norm"].isna().tolist() == [True, True, True]
    assert (units["nonfinite"] > 0).all()
    assert units["param_norm"].isna().tolist() == [False, True, False]


def test_nothing_in_the_tables_is_nan_or_infinite() -> None:
    """Null stands for every number that there is none of; infinity is nowhere."""
    for value in (math.nan, math.inf, 1e38):
        record = probe(network(value), rows() * 100, labels())
        for table in (record.units, record.parameters, record.steps):
            numbers = table.select_dtypes("number").to_numpy(dtype=float, na_value=np.nan)
            assert not np.isinf(numbers).any()


def test_elements_are_counted_by_tensor() -> None:
    """The first bad unit's values: F and y of 5 × 4 elements, all NaN, and its four gradients."""
    units = probe(LinearBranches([[math.nan, 0.0], [0.0, 0.0]]), rows(3, 2), loss=lambda y: y.sum()).units
    # F(x), y: one column of NaN each; gradients: s is finite, b and ∂E/∂x have one column of NaN.
    assert units["nonfinite"].tolist() == [3 + 3 + 3 + 3]
    assert units["grad_shortcut_norm"].notna().all()
    assert units["cancellation_p50"].isna().all()


def test_gradient_norms_over_parameters_are_null_with_a_nan_among_them() -> None:
    """A norm over several tensors is null if one of them has none: it is not the norm of the others."""
    record = probe(network(), rows(), labels())
    assert record.parameters["grad_norm"].isna().any()
    assert record.units["param_grad_norm"].isna().all()
    assert record.steps["param_grad_norm"].isna().all()
    assert record.steps["loss"].isna().all()


def test_bad_parameters_are_found_by_name() -> None:
    """The table of parameters says which tensor holds how many bad elements."""
    parameters = probe(network(), rows(), labels()).parameters.set_index("name")
    bad = parameters.loc["branches.1.0.weight"]
    assert bad["nonfinite"] >= 1
    assert pd.isna(bad["norm"])
    assert parameters.loc["branches.0.0.weight", "norm"] > 0


def test_a_record_with_nan_can_be_saved_and_read(tmp_path) -> None:
    """The record's JSON is JSON: null where the loss is NaN."""
    record = probe(network(), rows(), labels())
    record.save(tmp_path / "record")
    metadata = [path for path in (tmp_path / "record").iterdir() if path.suffix == ".json"]
    assert metadata
    for path in metadata:
        json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    loaded = gradflow.load_record(tmp_path / "record")
    assert loaded.units["nonfinite"].tolist() == record.units["nonfinite"].tolist()
    assert loaded.units["grad_in_norm"].isna().all()


def test_forward_overflow_is_counted() -> None:
    """A network whose values overflow float32 is measured up to there."""
    big = 1e30 * torch.eye(2)
    units = probe(LinearBranches(big, big), rows(3, 2), loss=lambda y: y.mean()).units
    assert units["branch_norm"].isna().tolist() == [False, True]
    assert units["nonfinite"][1] > 0
    assert units["x_norm"][1] == pytest.approx(1e30 * float(rows(3, 2).double().norm()), rel=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e-12, 1e12, 1e20, 1e30])
def test_ratios_do_not_depend_on_the_size_of_the_gradient(scale: float) -> None:
    """Multiplying the loss scales all gradients and leaves cosines and per-sample ratios as they are."""
    model = LinearBranches([[1.0, 2.0], [0.5, -1.0]], [[0.3, 1.0], [-2.0, 0.2]])
    plain = probe(model, rows(4, 2), loss=lambda y: y.square().sum()).units
    scaled = probe(model, rows(4, 2), loss=lambda y: scale * y.square().sum()).units
    for column in plain.filter(regex="cosine|cancellation|survival").columns:
        assert scaled[column].tolist() == pytest.approx(plain[column].tolist(), rel=1e-5), column
    for column in plain.filter(regex="^grad_.*_norm|param_grad_norm").columns:
        assert scaled[column].tolist() == pytest.approx((plain[column] * scale).tolist(), rel=1e-5), column


def test_a_sample_with_a_tiny_gradient_has_its_own_ratio() -> None:
    """A sample fitted so well that its gradient's square underflows is no sample without gradient."""
    weights = torch.tensor([1.0, 1e-25, 1.0])[:, None]
    model = LinearBranches([[1.0, 2.0], [0.5, -1.0]])
    tiny = probe(model, rows(3, 2), loss=lambda y: (weights * y).sum()).units
    plain = probe(model, rows(3, 2), loss=lambda y: y.sum()).units
    assert tiny["zero_samples"][0] == 0
    for column in plain.filter(regex="^(cancellation|survival)").columns:
        assert tiny[column][0] == pytest.approx(plain[column][0], rel=1e-6), column
