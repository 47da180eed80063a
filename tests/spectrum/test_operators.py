"""Jacobians as operators, held against dense ones that torch computes without gradflow."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from cases import SMALL, Case, each
from left_alone import Snapshot
from small_networks import Chain, ConvolutionalChain, LinearBranches, pictures, rows, seeded
from torch import Tensor, nn

from gradflow import build_model
from gradflow.errors import ProbeError
from gradflow.probing import linearised as linearised_module
from gradflow.spectrum import (
    JacobianOperator,
    adjoint_error,
    branch_jacobian,
    linearised,
    span_jacobian,
)
from gradflow.spectrum.estimates import dense
from gradflow.tolerances import adjoint_agreement


def in_double(model: nn.Module, inputs: object) -> tuple[nn.Module, object]:
    """Return both in float64."""
    return model.double(), inputs.double() if isinstance(inputs, Tensor) else inputs


def tolerance(model: nn.Module) -> float:
    """Return what rounding explains on any part of `model`, in float64."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    reduction = max(weight.numel() // min(weight.shape[:2]) for weight in weights)
    return adjoint_agreement("float64", len(weights), reduction)


def test_linear_branch_has_its_matrix_as_jacobian() -> None:
    """∂F/∂x of F(x) = A x is A in every sample's block, and 0 between samples."""
    a, b = [[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [-1.0, 0.5]]
    model = LinearBranches(a, b).double()
    with linearised(model, rows(3, 2, torch.float64)) as network:
        assert np.array_equal(dense(branch_jacobian(network, 0)), np.kron(np.eye(3), a))
        assert np.array_equal(dense(branch_jacobian(network, 1, sample=2)), np.array(b))
        whole = (np.eye(2) + b) @ (np.eye(2) + a)
        assert np.allclose(dense(span_jacobian(network, 0, 2, sample=1)), whole, rtol=1e-15)


def test_branch_equals_torchs_dense_jacobian() -> None:
    """Both products of a nonlinear branch give the matrix that `torch.autograd.functional` gives."""
    model = seeded(lambda: Chain(units=3)).double()
    x = rows(2, dtype=torch.float64)
    with torch.no_grad():
        at = model.stem(x)
        at = at + model.branches[0](at)
    expected = torch.autograd.functional.jacobian(model.branches[1], at).reshape(8, 8).numpy()
    with linearised(model, x) as network:
        operator = branch_jacobian(network, 1)
        by_columns = dense(operator)
        by_rows = np.asarray(operator.T @ np.eye(8)).T
    assert np.allclose(by_columns, expected, rtol=1e-13, atol=1e-15)
    assert np.allclose(by_rows, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("bn", ["batch", "frozen", "running"])
def test_span_equals_torchs_dense_jacobian(bn: str) -> None:
    """Through batch normalisation in each mode, the span's Jacobian is torch's own."""
    model = seeded(ConvolutionalChain).double().train(bn != "running")
    x = pictures(side=3, dtype=torch.float64)

    def between(at: Tensor) -> Tensor:
        for f in model.branches:
            at = at + f(at)
        return at

    at = model.stem(x).detach()
    if bn == "frozen":
        for f in model.branches:  # the statistics that this batch has here, held constant
            mean, variance = at.mean((0, 2, 3)).clone(), at.var((0, 2, 3), correction=0).clone()
            f[0].eval().running_mean.copy_(mean)
            f[0].running_var.copy_(variance)
            at = (at + f(at)).detach()
        at = model.stem(x).detach()
    size = at.numel()
    expected = torch.autograd.functional.jacobian(between, at).reshape(size, size).numpy()
    with linearised(model, x, bn=bn) as network:
        found = dense(span_jacobian(network, 0, 3))
    assert np.allclose(found, expected, rtol=1e-11, atol=1e-13)
    coupled = np.abs(found[: size // 2, size // 2 :]).max()
    assert (coupled > 1e-6) == (bn == "batch")


@each(SMALL)
def test_products_are_adjoint(case: Case) -> None:
    """⟨Jv, w⟩ = ⟨v, Jᵀw⟩ to rounding, for every kind of branch and for whole networks."""
    model, inputs = in_double(case.build(), case.inputs())
    with linearised(model, inputs, bn="batch") as network:
        last = len(network.units)
        operators = [branch_jacobian(network, 0), branch_jacobian(network, last - 1)]
        errors = [adjoint_error(operator) for operator in [*operators, span_jacobian(network, 0, last)]]
    assert max(errors) <= tolerance(model)


def test_perturbed_product_is_seen() -> None:
    """A Jacobian-vector product that is off by one part in a thousand is no longer the adjoint."""
    model, inputs = in_double(build_model("preact20", width=4), torch.randn(2, 3, 8, 8))

    class Perturbed(JacobianOperator):
        def _matvec(self, v: np.ndarray) -> np.ndarray:
            return super()._matvec(v) * (1 + 1e-3 * (np.arange(self.shape[0]) % 7 == 0))

    with linearised(model, inputs) as network:
        assert adjoint_error(Perturbed(network.branch(4))) > tolerance(model)


class Attention(nn.Module):
    """x + attention(x), in one head, by torch's fused kernel where it has one."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x)[:, None].chunk(3, -1)
        return x + nn.functional.scaled_dot_product_attention(query, key, value)[:, 0]


def test_attention_runs_by_its_plain_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused attention has no second derivative, so it is replaced here; without that there is one line."""
    model, x = seeded(Attention), torch.randn(2, 5, 8)
    with linearised(model, x) as network:
        assert adjoint_error(branch_jacobian(network, 0)) <= adjoint_agreement("float32", 3, 8)
    monkeypatch.setattr(linearised_module, "sdpa_kernel", lambda _backend: nullcontext())
    with (
        linearised(model, x) as network,
        pytest.raises(ProbeError, match="needs second derivatives"),
    ):
        branch_jacobian(network, 0) @ np.ones(80)


def test_samples_block_is_its_part_of_the_whole() -> None:
    """With frozen statistics the whole batch's Jacobian is its samples' blocks, and nothing else."""
    model = build_model("preact20", width=2).double()
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    with linearised(model, images, bn="frozen") as network:
        whole = dense(branch_jacobian(network, 4))
        blocks = [dense(branch_jacobian(network, 4, sample=sample)) for sample in range(2)]
    expected = np.zeros_like(whole)
    half = len(whole) // 2
    expected[:half, :half], expected[half:, half:] = blocks
    assert np.allclose(whole, expected, rtol=1e-13, atol=1e-15)


def test_samples_of_a_coupled_batch_have_no_jacobian() -> None:
    """With batch statistics a single sample is refused, with the modes that allow it."""
    with linearised(build_model("preact20", width=2), torch.randn(2, 3, 8, 8), bn="batch") as network:
        with pytest.raises(ProbeError, match=r"couple the samples.*frozen"):
            branch_jacobian(network, 0, sample=0)
        with pytest.raises(ProbeError, match="no unit 9: the network has units 0 to 8"):
            branch_jacobian(network, 9)
        with pytest.raises(ProbeError, match="no span 3-3"):
            span_jacobian(network, 3, 3)
    with (
        linearised(build_model("preact20", width=2), torch.randn(2, 3, 8, 8)) as network,
        pytest.raises(ProbeError, match="no sample 2: the batch has samples 0 to 1"),
    ):
        branch_jacobian(network, 0, sample=2)


def test_low_precision_is_widened_for_numpy() -> None:
    """numpy has no bfloat16: vectors of such a network are float32."""
    with linearised(seeded(Chain).bfloat16(), rows().bfloat16()) as network:
        operator = branch_jacobian(network, 0)
        product = operator @ np.ones(20)
    assert operator.dtype == product.dtype == np.float32


def test_model_is_left_as_it_was() -> None:
    """Nothing of the model or the process changes, also where an exception ends it."""
    model = build_model("preact20", width=2)
    images = torch.randn(2, 3, 8, 8)
    before = Snapshot(model)
    with linearised(model, images) as network:
        branch_jacobian(network, 0) @ np.ones(network.branch(0).input_shape.numel())
    before.assert_unchanged()
    with pytest.raises(KeyError, match="mine"), linearised(model, images):
        raise KeyError("mine")
    before.assert_unchanged()
