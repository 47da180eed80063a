"""What reaches a unit from outside between its fork and its addition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradflow.equations import check
from gradflow.probing import oracle, probe, self_test


class Tapped(nn.Module):
    """Units x + b(tanh(a(x))) with an auxiliary head on one unit's tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.first = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.second = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def values(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
        """Return every x_l, every branch's inner value, every F(x_l), and the loss."""
        forks, inner, branches = [self.stem(x)], [], []
        for a, b in zip(self.first, self.second, strict=True):
            inner.append(torch.tanh(a(forks[-1])))
            branches.append(b(inner[-1]))
            forks.append(forks[-1] + branches[-1])
        return forks, inner, branches, forks[-1].square().sum() + inner[1].pow(3).sum()

    def forward(self, x: Tensor) -> Tensor:
        return self.values(x)[-1]


@pytest.fixture
def model() -> Tapped:
    """A tapped network in float64, the same every time."""
    torch.manual_seed(0)
    return Tapped().double()


def test_what_enters_inside_a_branch_is_other(model: Tapped) -> None:
    """The branch's part is (∂F/∂x)ᵀ ∂E/∂y alone; the auxiliary head's part is `grad_other_norm`."""
    x = torch.randn(5, 4, dtype=torch.float64)
    forks, inner, branches, loss = model.values(x)
    (g_y,) = torch.autograd.grad(loss, forks[2], retain_graph=True)
    (branch,) = torch.autograd.grad(branches[1], forks[1], g_y, retain_graph=True)
    (g_inner,) = torch.autograd.grad(inner[1].pow(3).sum(), inner[1], retain_graph=True)
    (other,) = torch.autograd.grad(inner[1], forks[1], g_inner, retain_graph=True)
    (whole,) = torch.autograd.grad(loss, forks[1])
    unit = probe(model, x, loss=lambda value: value).units.loc[1]
    assert unit["grad_branch_norm"] == pytest.approx(float(branch.norm()), rel=1e-12)
    assert unit["grad_shortcut_norm"] == pytest.approx(float(g_y.norm()), rel=1e-12)
    assert unit["grad_other_norm"] == pytest.approx(float(other.norm()), rel=1e-12)
    assert unit["grad_in_norm"] == pytest.approx(float(whole.norm()), rel=1e-12)


def test_the_oracle_agrees(model: Tapped) -> None:
    """The oracle, which takes every part as a VJP, has the same numbers, and the self-test passes."""
    x = torch.randn(5, 4, dtype=torch.float64)
    measured = probe(model, x, loss=lambda value: value).units
    expected = oracle(model, x, loss=lambda value: value)
    for column in ("grad_branch_norm", "grad_shortcut_norm", "grad_other_norm", "grad_in_norm"):
        assert measured[column].tolist() == pytest.approx(expected[column].tolist(), rel=1e-12, abs=1e-15)
    assert self_test(model, x, loss=lambda value: value).passed


def test_equations_expect_nothing_of_a_tapped_span(model: Tapped) -> None:
    """Eq. 5 has no term for the auxiliary head: spans over that unit are findings, others hold."""
    checks = check(model, torch.randn(5, 4, dtype=torch.float64), loss=lambda value: value).checks
    backward = checks[checks["equation"] == "5"]
    tapped = (backward["span_start"] <= 1) & (backward["span_end"] > 1)
    assert tapped.any()
    assert not backward[tapped]["expected_to_hold"].any()
    assert backward[~tapped]["expected_to_hold"].all()
    assert backward[~tapped]["holds"].all()
