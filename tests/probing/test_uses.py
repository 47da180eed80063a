"""The probe against the oracle, in the ways in which networks are put together and called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from agreement import both
from small_networks import CLASSES, WIDTH, Chain, Residual, branch, labels, rows, seeded
from torch import Tensor, nn

from gradflow import find_units, probe

X = rows(dtype=torch.float64)


def squared(outputs: Any) -> Tensor:
    """Return a loss of the first tensor of `outputs`."""
    return outputs.square().mean()


class Nested(nn.Module):
    """Units whose branches hold units, two deep; the outer ones' additions come last."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        inner = [Residual(branch()) for _ in range(2)]
        middle = [Residual(nn.Sequential(nn.Linear(WIDTH, WIDTH), unit, nn.Tanh())) for unit in inner]
        self.units = nn.Sequential(
            *(Residual(nn.Sequential(unit, nn.Linear(WIDTH, WIDTH))) for unit in middle)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.units(self.stem(x))


def test_units_within_units_agree() -> None:
    """Six units: each outer one's branch has the parameters of those inside it, and their numbers agree."""
    model = seeded(Nested).double()
    found = find_units(model, X)
    assert [unit.name for unit in found] == [
        name for unit in (0, 1) for name in (f"units.{unit}.f.0.f.1", f"units.{unit}.f.0", f"units.{unit}")
    ]
    inner, middle, outer = (set(unit.branch_parameters) for unit in found[:3])
    assert inner < middle < outer
    both(model, X, None, loss=squared)


class ThreeConsumers(Chain):
    """x feeds two units, and a head of its own."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left, right = x + self.branches[0](x), x + self.branches[1](x)
        return self.head(left * right) + self.head(x)


def test_several_consumers_of_one_fork_agree() -> None:
    """Where two units and a head start from one x, each unit counts the rest as coming from outside."""
    model = seeded(ThreeConsumers).double()
    both(model, X, labels())
    assert (probe(model, X, labels()).units["grad_other_norm"] > 0).all()


class CalledTwice(nn.Module):
    """One unit that runs twice, and then its branch twice in one unit."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = Residual(branch())

    def forward(self, x: Tensor) -> Tensor:
        x = self.unit(self.unit(x))
        return x + self.unit.f(self.unit.f(x))


def test_shared_modules_agree() -> None:
    """Each use is a unit; the gradient of a shared parameter is the whole one, of all its uses."""
    model = seeded(CalledTwice).double()
    units = probe(model, X, loss=squared).units
    assert units["name"].tolist() == ["unit", "unit", ""]
    assert units["param_grad_norm"].nunique() == 1
    both(model, X, None, loss=squared)


class Siamese(nn.Module):
    """A network that is called on two inputs, whose outputs are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain(units=2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.chain(first) - self.chain(second)


def test_a_network_that_runs_twice_agrees() -> None:
    """The units of both runs are measured, and the second run is no recurrence of the first."""
    model = seeded(Siamese).double()
    inputs = (X, 2 * X + 1)
    assert len(find_units(model, inputs)) == 4
    both(model, inputs, None, loss=squared)


class CrossAttention(nn.Module):
    """x + attention of x on a context that was made before, twice over; the context is projected by each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.encoder = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.q, self.k, self.v = (nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2)) for _ in range(3))

    def forward(self, x: Tensor, *, context: Tensor) -> Tensor:
        context = torch.tanh(self.encoder(context))
        x = self.stem(x)
        for q, k, v in zip(self.q, self.k, self.v, strict=True):
            x = x + torch.softmax(q(x) @ k(context).T, -1) @ v(context)
        return x


def test_side_inputs_agree() -> None:
    """What a branch reads beside x_l is no part of x_l: ∂E/∂x_l is s + b, and the encoder is nobody's own."""
    model = seeded(CrossAttention).double()
    inputs = {"x": X, "context": rows(batch=7, dtype=torch.float64)}
    found = find_units(model, inputs)
    assert [unit.shortcut for unit in found] == ["identity"] * 2
    for index, unit in enumerate(found):
        assert {name.partition(".")[0] for name in unit.branch_parameters} == {"q", "k", "v"}
        assert all(f".{index}." in name for name in unit.branch_parameters)
    both(model, inputs, None, loss=squared)
    assert (probe(model, inputs, loss=squared).units["grad_other_norm"] == 0).all()


class Returning(Chain):
    """A network that returns its logits and x in some structure.

    Args:
        pack: makes the structure.
    """

    def __init__(self, pack: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.pack = pack

    def forward(self, x: Tensor) -> Any:
        return self.pack(super().forward(x), x)


@pytest.mark.parametrize(
    ("pack", "loss"),
    [
        (lambda logits, x: (x, logits), lambda outputs: outputs[1].square().mean()),
        (lambda logits, x: [logits, (x, x)], lambda outputs: outputs[0].square().mean()),
        (lambda logits, x: {"x": x, "logits": logits}, lambda outputs: outputs["logits"].square().mean()),
        (lambda logits, _: {"loss": logits.square().mean(), "logits": logits}, None),
    ],
    ids=["tuple", "nested list", "dict", "dict with its own loss"],
)
def test_outputs_of_any_structure_agree(pack: Callable, loss: Callable | None) -> None:
    """Outputs may be tuples, lists and dicts; the loss picks what it is about, or is among them."""
    model = seeded(lambda: Returning(pack)).double()
    both(model, X, None, loss=loss)
    plain = probe(seeded(Chain).double(), X, loss=squared).units
    assert probe(model, X, loss=loss).units["grad_in_norm"].tolist() == plain["grad_in_norm"].tolist()


class KeywordOnly(Chain):
    """A network all of whose arguments are keyword-only, one of them no tensor and one a float mask."""

    def forward(self, *, x: Tensor, mask: Tensor, scale: float = 1.0) -> Tensor:
        x = self.stem(x)
        for f in self.branches:
            x = x + scale * f(x) * mask
        return self.head(x)


def test_keyword_only_inputs_agree() -> None:
    """A dict goes by keyword; a mask that every branch reads is an input and no parameter of theirs."""
    model = seeded(KeywordOnly).double()
    inputs = {"x": X, "mask": (X > -0.5).double(), "scale": 0.5}
    found = find_units(model, inputs)
    assert [len(unit.branch_parameters) for unit in found] == [4, 4, 4]
    both(model, inputs, labels())


class MaskAtTheInput(nn.Module):
    """A unit that forks at the network's input, and whose branch reads another input."""

    def __init__(self) -> None:
        super().__init__()
        self.f = branch()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x + self.f(x) * mask


def test_an_input_is_no_parameter() -> None:
    """‖θ‖ is that of the branch's parameters, whatever the mask."""
    model = seeded(MaskAtTheInput).double()
    mask = (X > -0.5).double()
    both(model, (X, mask), None, loss=squared)
    norm = torch.cat([parameter.flatten() for parameter in model.parameters()]).norm().item()
    for scale in (1, 1000):
        units = probe(model, (X, scale * mask), loss=squared).units
        assert units["param_norm"].tolist() == pytest.approx([norm], rel=1e-12)


def frozen(model: nn.Module, *names: str) -> nn.Module:
    """Return `model` with the parameters frozen whose names begin with one of `names`."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(names))
    return model


class Projected(Chain):
    """Units whose shortcuts are projections without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcuts = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for h, f in zip(self.shortcuts, self.branches, strict=True):
            x = h(x) + f(x)
        return self.head(x)


@pytest.mark.parametrize("kind", [Chain, Projected])
@pytest.mark.parametrize(
    "names",
    [("stem",), ("branches.1",), ("branches",), ("branches.0.0", "shortcuts.0"), ("shortcuts", "branches.2")],
    ids=" ".join,
)
def test_frozen_parameters_agree(kind: type[Chain], names: tuple[str, ...]) -> None:
    """Freezing hides no unit and changes no kind: a frozen weight projects as well as another."""
    trained, model = seeded(kind).double(), frozen(seeded(kind).double(), *names)
    both(model, X, labels())
    theirs, mine = (probe(network, X, labels()).units for network in (trained, model))
    for column in (
        "name",
        "shortcut",
        "grad_shortcut_norm",
        "grad_branch_norm",
        "grad_in_norm",
        "branch_norm",
    ):
        assert mine[column].tolist() == theirs[column].tolist(), column


def test_only_a_frozen_model_has_no_parameter_gradients() -> None:
    """A branch that is frozen has no gradient of parameters, and the others' are what they were."""
    units = probe(frozen(seeded(Chain).double(), "branches.1"), X, labels()).units
    assert (units["param_grad_norm"].fillna(0) > 0).tolist() == [True, False, True]


@pytest.mark.parametrize("needs", [False, True], ids=["needs none", "needs one"])
def test_inputs_with_and_without_gradient_agree(needs: bool) -> None:
    """Whether the caller's tensor needs a gradient makes no difference, and it gets none."""
    x = X.clone().requires_grad_(needs)
    model = seeded(Chain).double()
    both(model, x, labels())
    assert x.grad is None
    assert probe(model, x, labels()).units.equals(probe(model, X, labels()).units)


class Tokens(nn.Module):
    """Embedded tokens, two units, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, WIDTH)
        self.units = nn.Sequential(*(Residual(branch()) for _ in range(2)))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor, weights: Tensor) -> Tensor:
        return self.head((self.units(self.embedding(tokens)) * weights[..., None]).mean(1))


def test_integer_inputs_agree() -> None:
    """Integers have no gradient: the first fork is the embedding."""
    inputs = (torch.arange(30).reshape(5, 6) % 10, torch.arange(6) + 1)
    both(seeded(Tokens).double(), inputs, labels())


def test_a_unit_below_which_nothing_needs_a_gradient_is_passed_over() -> None:
    """Behind a frozen embedding of integers no gradient flows into x_0, which is said."""
    model = frozen(seeded(Tokens).double(), "embedding")
    inputs = (torch.arange(30).reshape(5, 6) % 10, torch.arange(6) + 1)
    found = find_units(model, inputs)
    assert [unit.name for unit in found] == ["units.1"]
    assert [over.name for over in found.passed_over] == ["units.0"]
    assert found.passed_over[0].reason.startswith("an operand needs no gradient")
    both(model, inputs, labels())
