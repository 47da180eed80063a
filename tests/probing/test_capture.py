"""The tensors that are kept for the equations, and the paper's own form of eq. 5 made of them."""

from __future__ import annotations

import torch
from small_networks import Chain, LinearBranches, labels, rows, seeded

from gradflow.probing.capture import captured


def test_the_paper_s_form_is_a_sum_of_products_of_single_branches() -> None:
    """One backward pass for ΣF gives what a vector-Jacobian product for each F_i, added up, gives."""
    model = seeded(lambda: Chain(units=4)).double()
    with captured(model, rows(dtype=torch.float64), labels()) as capture:
        cotangent = capture.gradients[capture.units[3].out]
        together = capture.branch_sum_vjps(0, [cotangent] * 4)
        assert len(together) == 4
    x = model.stem(rows(dtype=torch.float64)).detach()
    for first in range(4):
        start = x.clone().requires_grad_()
        value, expected = start, torch.zeros_like(x)
        for f in model.branches[first:]:
            (product,) = torch.autograd.grad(f(value), start, cotangent, retain_graph=True)
            expected = expected + product
            value = value + f(value)
        assert torch.allclose(together[first], expected, rtol=1e-13, atol=1e-15)
        x = (x + model.branches[first](x)).detach()


def test_linear_networks_by_hand() -> None:
    """With F_i(x) = A_i x the paper's bracket is (I + A_2)(I + A_1) − I, whatever the batch."""
    a, b = torch.randn(3, 3).double(), torch.randn(3, 3).double()
    model = LinearBranches(a, b).double()
    with captured(model, rows(4, 3, torch.float64), loss=lambda y: y.sum()) as capture:
        (product, _) = capture.branch_sum_vjps(0, [capture.gradients[capture.units[1].out]] * 2)
    identity = torch.eye(3).double()
    bracket = (identity + b) @ (identity + a) - identity
    assert torch.allclose(product, torch.ones(4, 3).double() @ bracket, rtol=1e-13)
