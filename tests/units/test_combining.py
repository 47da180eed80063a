"""Ways to combine x_l and F(x_l) that are no sum of two tensors of one shape: measured, or named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_networks import Chain, rows
from torch import Tensor, nn

from gradflow import find_units
from gradflow.errors import NoResidualUnitError

Writing = Callable[[Tensor, nn.Module], Tensor]


def passed_over(writing: Writing) -> set[str]:
    """Return why nothing is measured in a network whose units are written so."""
    with pytest.raises(NoResidualUnitError, match="no residual unit") as refusal:
        find_units(Chain(writing), rows())
    return {over.reason for over in refusal.value.passed_over}


UNMEASURED: dict[str, tuple[str, Writing]] = {
    "lerp": ("torch.lerp", lambda x, f: torch.lerp(x, f(x), 0.3)),
    "addcmul": ("torch.addcmul", lambda x, f: torch.addcmul(x, f(x), torch.full_like(x, 0.5))),
    "addmm": ("torch.addmm", lambda x, f: torch.addmm(x, f(x), f[0].weight)),
    "addmm, whose weight is the branch's only one": (
        "torch.addmm",
        lambda x, f: torch.addmm(x, torch.relu(x), f[0].weight),
    ),
    "addmm of x by keyword": ("torch.addmm", lambda x, f: torch.addmm(input=x, mat1=f(x), mat2=f[0].weight)),
    "baddbmm": (
        "torch.addmm",
        lambda x, f: torch.baddbmm(x[None], f(x)[None], f[0].weight[None])[0],
    ),
    "a stack's sum": ("a sum over a stack", lambda x, f: torch.stack([x, f(x)]).sum(0)),
    "a stack's mean": ("a sum over a stack", lambda x, f: torch.mean(torch.stack([f(x), x], 1), 1)),
    "_foreach_add": (
        "torch._foreach_add",
        lambda x, f: torch._foreach_add([x], [f(x)])[0],
    ),
    "rsub": ("torch.rsub", lambda x, f: torch.rsub(f(x), x)),
    "broadcast": ("a sum of two shapes", lambda x, f: x + f(x).mean(0, keepdim=True)),
    "broadcast, subtracted": ("a sum of two shapes", lambda x, f: x - f(x).mean(1, keepdim=True)),
    "1 + F": ("a product with 1 + F", lambda x, f: x * (1 + f(x))),
    "F + 1": ("a product with 1 + F", lambda x, f: (f(x) + 1) * x),
    "f − x": ("it subtracts", lambda x, f: f(x) - x),
    "2 x − f": ("it subtracts", lambda x, f: 2 * x - f(x)),
}


@pytest.mark.parametrize("name", UNMEASURED)
def test_what_is_not_measured_is_said(name: str) -> None:
    """Each such function is named once for each unit, where it stands, with what is measured instead."""
    beginning, writing = UNMEASURED[name]
    (reason,) = passed_over(writing)
    assert reason.startswith(beginning)
    found = find_units(nn.Sequential(Chain(writing), nn.Linear(3, 4), Chain()), rows())
    assert len(found) == 3
    assert [over.name for over in found.passed_over] == ["0"] * 3
    assert all(over.where.startswith(f"{__name__}:") for over in found.passed_over)


def gelu(x: Tensor) -> Tensor:
    """Return GELU's tanh form."""
    return 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.04 * x**3)))


HARMLESS: dict[str, Writing] = {
    "lerp of unrelated tensors": lambda x, f: torch.lerp(f(x), torch.ones_like(x), 0.3),
    "a bias": lambda x, f: torch.addmm(f[0].bias, f(x), f[0].weight),
    "a bias that was computed": lambda x, f: f(x) + f[0].bias.exp(),
    "GELU": lambda x, f: gelu(f(x)),
    "a weight of 1 + γ": lambda x, f: f(x) * (1 + f[0].bias),
    "a logarithm of a sum, as RWKV takes it": lambda x, f: torch.exp(x - torch.maximum(x, f[0].bias + x)),
    "centring": lambda x, f: f(x - x.mean(1, keepdim=True)),
    "a stack of branches": lambda x, f: torch.stack([f(x), f(torch.relu(x))]).sum(0),
    "a difference of branches": lambda x, f: f(x) - f(torch.relu(x)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_nothing_of_the_kind_is_not_named(name: str) -> None:
    """The same functions, where they combine no x_l with an F(x_l)."""
    forms = tuple(beginning for beginning, _ in UNMEASURED.values())
    assert not [reason for reason in passed_over(HARMLESS[name]) if reason.startswith(forms)]


def test_only_selected_modules_are_named() -> None:
    """As with additions, what was not asked for is no news."""
    model = nn.Sequential(Chain(UNMEASURED["lerp"][1]), nn.Linear(3, 4), Chain())
    found = find_units(model, rows(), units="2")
    assert not [over for over in found.passed_over if over.reason.startswith("torch.lerp")]


@pytest.mark.parametrize(
    "writing",
    [
        lambda x, f: sum([x, f(x)]),
        lambda x, f: sum([f(x), x]),
        lambda x, f: x - f(x),
        lambda x, f: torch.sub(x, f(x), alpha=2),
        lambda x, f: x.clone().sub_(f(x)),
        lambda x, f: torch.ops.aten.add.Tensor(x, f(x)),
    ],
    ids=["sum", "sum from the branch", "x − f", "x − 2 f", "in place", "aten"],
)
def test_other_writings_that_are_measured(writing: Writing) -> None:
    """Python's `sum` begins with 0, which changes nothing, and x − f(x) adds F = −f."""
    found = find_units(Chain(writing), rows())
    assert [unit.shortcut for unit in found] == ["identity"] * 3
    assert found.passed_over == []


def test_a_number_other_than_zero_changes_x() -> None:
    """h(x) = x + 1 is no identity."""
    assert [unit.shortcut for unit in find_units(Chain(lambda x, f: (1 + x) + f(x)), rows())] == ["other"] * 3
