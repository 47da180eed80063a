"""`singular_values`: what the record holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from left_alone import Snapshot
from small_networks import Chain, LinearBranches, labels, rows, seeded

import gradflow
from gradflow import build_model, singular_values
from gradflow.errors import ProbeError
from gradflow.spectrum import branch_jacobian, linearised
from gradflow.spectrum.estimates import dense
from gradflow.tolerances import UNIT_ROUNDOFF


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch in float64 and its classes."""
    drawn = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return drawn, torch.tensor([3, 5])


def test_rezero_is_the_identity() -> None:
    """With branches times 0 every span inside a stage has all singular values 1; with 0.001 it has not."""
    spans = [(0, 2), (4, 5), (7, 9)]
    network = {"shortcut": "scale:1,0", "width": 4}
    record = singular_values(
        build_model("preact20", **network).double(),
        *images(),
        branches=(),
        spans=spans,
        largest=2,
        smallest=1,
    )
    assert (record.jacobians["mean_square"] == 1.0).all()
    assert (record.jacobians["mean_square_error"] == 0.0).all()
    found = record.singular_values["singular_value"].to_numpy()
    assert len(found) == 9
    # ARPACK works on JᵀJ with a basis of 20 vectors of norm 1.
    assert np.abs(found - 1).max() <= 20 * UNIT_ROUNDOFF["float64"]
    almost = build_model("preact20", **network | {"shortcut": "scale:1,0.001"}).double()
    off = singular_values(almost, *images(), branches=(), spans=spans[:1], largest=0).jacobians
    assert abs(off["mean_square"][0] - 1) > 1e-7


def test_numbers_are_those_of_the_dense_jacobian() -> None:
    """Singular values equal numpy's, and the mean square is within four standard errors of it."""
    model = build_model("preact20", width=2).double()
    record = singular_values(model, *images(), branches=[4], spans=(), largest=5, probes=50)
    with linearised(model, images()[0], bn="batch") as network:
        expected = np.linalg.svd(dense(branch_jacobian(network, 4)), compute_uv=False)
    values = record.singular_values
    assert values["order"].tolist() == [1, 2, 3, 4, 5]
    assert values["singular_value"].to_numpy() == pytest.approx(expected[:5], rel=1e-10)
    (row,) = record.jacobians.to_dict("records")
    truth = float(np.square(expected).sum() / row["inputs"])
    assert abs(row["mean_square"] - truth) <= 4 * row["mean_square_error"]
    assert (row["jacobian"], row["span_start"], row["span_end"], row["stage"]) == ("branch", 4, 5, 1)


def test_scaled_linear_net_by_hand() -> None:
    """x_L = (λ + a)² x: the only singular value is (λ + a)², and the branch's is a."""
    model = LinearBranches([[0.5]], [[0.5]], shortcut=0.9).double()
    record = singular_values(model, rows(3, 1, torch.float64), loss=lambda outputs: outputs.sum())
    first = record.singular_values[record.singular_values["order"] == 1].set_index("jacobian")
    assert first.loc["branch", "singular_value"].tolist() == pytest.approx([0.5, 0.5], rel=1e-15)
    assert first.loc["span", "singular_value"] == pytest.approx(1.4**2, rel=1e-15)


def test_everything_by_default(tmp_path: Path) -> None:
    """Every branch and the whole network; the record survives disk, and the model is as it was."""
    model = seeded(Chain)
    before = Snapshot(model)
    record = singular_values(model, rows(), labels(), largest=1)
    before.assert_unchanged()
    assert record.jacobians["jacobian"].tolist() == ["branch"] * 3 + ["span"]
    assert record.jacobians["span_end"].tolist() == [1, 2, 3, 3]
    assert len(record.units) == 3
    record.save(tmp_path / "run")
    loaded = gradflow.load_record(tmp_path / "run")
    assert loaded.singular_values.equals(record.singular_values)


def test_without_singular_values_there_is_the_mean_square() -> None:
    """Asked for none, only the cheap estimate is made."""
    model = LinearBranches([[0.5, 0.0], [0.0, 2.0]]).double()
    record = singular_values(
        model, rows(2, 2, torch.float64), loss=lambda outputs: outputs.sum(), largest=0, spans=()
    )
    assert record.singular_values.empty
    assert record.jacobians["mean_square"].tolist() == pytest.approx([4.25 / 2], rel=1e-15)


def test_negative_counts_are_refused() -> None:
    """There is no −1st singular value."""
    with pytest.raises(ProbeError, match="expected 0 or more"):
        singular_values(LinearBranches([[1.0]]), rows(5, 1), labels(), largest=-1)


def test_not_finite_weights_are_refused() -> None:
    """NaN in the weights is one line, not a number."""
    model = build_model("preact20", width=2)
    with torch.no_grad():
        model.stage1[1].branch[2].weight[0, 0, 0, 0] = float("nan")
    inputs, targets = images()
    for asked in ({"branches": [1], "spans": ()}, {"branches": [0], "spans": ()}, {"largest": 0}):
        with pytest.raises(ProbeError, match=r"parameter stage1\.1\.branch.* is not finite"):
            singular_values(model, inputs.float(), targets, **asked)


def test_a_jacobian_that_overflows_has_no_mean_square() -> None:
    """Weights that are numbers may make products that are none: no number is given then."""
    model = LinearBranches(*[torch.full((2, 2), 1e30)] * 3)
    with pytest.raises(ProbeError, match="the Jacobian is not finite"):
        singular_values(model, rows(2, 2), loss=lambda outputs: outputs.sum(), largest=0, branches=())
