"""Which additions are residual, however they are written, and which are passed over."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_networks import CLASSES, WIDTH, Chain, ConvolutionalChain, Residual, branch, pictures, rows
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradflow import build_model, find_units
from gradflow.errors import GradflowError, NoResidualUnitError


def added_in_place(x: Tensor, f: nn.Module) -> Tensor:
    """``out += x``, as torchvision writes it."""
    out = f(x)
    out += x
    return out


def added_to_x(x: Tensor, f: nn.Module) -> Tensor:
    """``x += F(x)``, which overwrites x_l."""
    x += f(x)
    return x


def reassigned(x: Tensor, f: nn.Module) -> Tensor:
    """The identity under another name, and x used for something else."""
    identity = x
    x = f(x)
    x = x + identity
    return x  # noqa: RET504 - this is how it is written


WRITINGS: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "x + F": lambda x, f: x + f(x),
    "F + x": lambda x, f: f(x) + x,
    "out += x": added_in_place,
    "out.add_(x)": lambda x, f: f(x).add_(x),
    "x += F": added_to_x,
    "reassigned": reassigned,
    "torch.add": lambda x, f: torch.add(x, f(x)),
    "torch.add by keyword": lambda x, f: torch.add(input=f(x), other=x),
    "x.add(F)": lambda x, f: x.add(f(x)),
}


@pytest.mark.parametrize("writing", WRITINGS, ids=str)
def test_every_writing_of_an_identity_shortcut_is_found(writing: str) -> None:
    """However the addition is written, there are three units with identity shortcuts."""
    found = find_units(Chain(WRITINGS[writing]), rows())
    assert [(unit.shortcut, unit.post_activation, unit.stage) for unit in found] == [
        ("identity", "identity", 0)
    ] * 3
    assert set(found[1].branch_parameters) == {
        f"branches.1.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }


def test_activations_in_place() -> None:
    """In-place ReLUs, in the branch and after an in-place addition, hide nothing."""

    def unit(x: Tensor, f: nn.Module) -> Tensor:
        out = f(x)
        out += x
        return torch.relu_(out)

    found = find_units(ConvolutionalChain(unit, inplace=True), pictures())
    assert [(unit.shortcut, unit.post_activation) for unit in found] == [("identity", "relu")] * 3


def test_alpha_on_the_branch_leaves_the_shortcut_an_identity() -> None:
    """y = x + α F(x) is a unit whose branch is α F."""
    found = find_units(Chain(lambda x, f: torch.add(x, f(x), alpha=0.5)), rows())
    assert [unit.shortcut for unit in found] == ["identity"] * 3


def test_alpha_on_the_shortcut_is_a_scale() -> None:
    """y = F(x) + α x is a unit whose shortcut is scaled by α, not an identity."""
    found = find_units(Chain(lambda x, f: torch.add(f(x), x, alpha=0.5)), rows())
    assert [unit.shortcut for unit in found] == ["scaled"] * 3


def test_addition_into_a_view_is_passed_over_with_the_reason() -> None:
    """Adding in place into a view hides the operands, so it is not measured, and that is said."""

    def unit(x: Tensor, f: nn.Module) -> Tensor:
        out = f(x)
        out[:, :2].add_(x[:, :2])
        return out

    with pytest.raises(NoResidualUnitError, match="3 additions"):
        find_units(Chain(unit), rows())
    found = find_units(nn.Sequential(Chain(unit), nn.Linear(CLASSES, WIDTH), Chain()), rows())
    assert len(found) == 3
    assert {over.reason for over in found.passed_over} == {
        "it adds in place into a view of another tensor, which hides its operands"
    }
    assert {over.name for over in found.passed_over} == {"0"}


class GeluByHand(nn.Module):
    """GELU's tanh form, with its inner addition."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.tanh(0.797885 * (x + 0.044715 * x**3)))


class TokenModel(nn.Module):
    """Token and position embeddings, added, and one unit."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(10, WIDTH)
        self.positions = nn.Embedding(6, WIDTH)
        self.branch = nn.Sequential(nn.Linear(WIDTH, WIDTH), GeluByHand(), nn.Linear(WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1]).expand(tokens.shape)
        x = self.tokens(tokens) + self.positions(positions)
        return x + self.branch(x)


def test_embeddings_and_gelu_are_no_units() -> None:
    """Positions added to tokens have no common origin, GELU's inner terms no parameters."""
    found = find_units(TokenModel(), torch.zeros(2, 6, dtype=torch.long))
    assert [unit.shortcut for unit in found] == ["identity"]
    assert [(over.name, over.reason) for over in found.passed_over] == [
        ("", "its operands do not come from one tensor"),
        ("branch.1", "neither operand passes parameters of its own between the addition and the fork"),
    ]


def test_fork_at_the_networks_own_input() -> None:
    """The first unit may start at the input itself."""
    model = nn.ModuleList([branch()])
    model.forward = lambda x: x + model[0](x)
    (unit,) = find_units(model, rows())
    assert (unit.shortcut, unit.shape) == ("identity", (5, WIDTH))


class SharedFork(Chain):
    """Two units that start at one x, one on the other's far side."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left = x + self.branches[0](x)
        right = x + self.branches[1](x)
        return self.head(left * right)


def test_two_units_may_share_a_fork() -> None:
    """Two additions that start from the same x are two units."""
    assert [unit.shortcut for unit in find_units(SharedFork(), rows())] == ["identity"] * 2


class Attention(nn.Module):
    """x + V K Q, with nothing in front of the three: several edges leave the fork for the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return x + scores.softmax(-1) @ self.v(x)


def test_query_key_and_value_are_one_branch() -> None:
    """A branch that leaves the fork by three edges holds the parameters of all three."""
    found = find_units(nn.Sequential(Attention(), Attention()), torch.randn(2, 3, WIDTH))
    assert [unit.shortcut for unit in found] == ["identity"] * 2
    assert {name.split(".")[1] for name in found[1].branch_parameters} == {"q", "k", "v"}


@pytest.mark.parametrize("ratio", [1, 2], ids=["equally long", "one longer"])
def test_parallel_branches_are_passed_over(ratio: int) -> None:
    """The sum of two branches has no shortcut: it is passed over, and the reason says so."""

    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = branch()
            self.right = nn.Sequential(*(branch() for _ in range(ratio)))

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x) + self.right(x)

    with pytest.raises(NoResidualUnitError, match=r"1 addition of equal shapes seen"):
        find_units(Parallel(), rows())
    found = find_units(nn.Sequential(Parallel(), Chain()), rows())
    assert len(found) == 3
    (over,) = found.passed_over
    assert over.name == "0"
    assert over.reason.startswith("both operands are")


def test_parallel_attention_and_mlp_is_one_unit() -> None:
    """x + A(x) + M(x) is one unit whatever the order in which it is added up."""

    class Parallel(nn.Module):
        def __init__(self, *, shortcut_first: bool) -> None:
            super().__init__()
            self.a, self.m, self.shortcut_first = branch(), branch(), shortcut_first

        def forward(self, x: Tensor) -> Tensor:
            return x + self.a(x) + self.m(x) if self.shortcut_first else self.a(x) + self.m(x) + x

    found = find_units(Parallel(shortcut_first=False), rows())
    assert [unit.shortcut for unit in found] == ["identity"]
    assert len(found[0].branch_parameters) == 8


def test_halves_of_a_split_are_no_unit() -> None:
    """y = x₁ + F(x₂) with x₁, x₂ halves of one tensor (a reversible network) has no common x_l."""

    class Reversible(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.f = branch(WIDTH // 2)

        def forward(self, x: Tensor) -> Tensor:
            first, second = (2 * x).chunk(2, dim=1)
            return torch.cat([first + self.f(second), second], dim=1)

    found = find_units(nn.Sequential(Reversible(), Chain()), rows())
    assert [over.reason for over in found.passed_over] == [
        "its operands come from different outputs of one operation (a split or chunk)"
    ]


def test_layout_changes_on_the_shortcut_are_identities() -> None:
    """A cast or a reshape there and back moves values and computes nothing."""
    found = find_units(Chain(lambda x, f: x.reshape(-1).reshape(x.shape).contiguous() + f(x)), rows())
    assert [unit.shortcut for unit in found] == ["identity"] * 3


def test_rolled_shortcut_is_no_identity() -> None:
    """h(x) = roll(x) has the norm of x but is not x, so eq. 3 is not about it."""
    found = find_units(Chain(lambda x, f: x.roll(1, 1) + f(x)), rows())
    assert [unit.shortcut for unit in found] == ["other"] * 3


@pytest.mark.parametrize(
    ("build", "inputs"),
    [
        (lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), *(Residual(branch()) for _ in range(3))), rows),
        (lambda: build_model("preact14", width=4), lambda: pictures(side=8)),
    ],
    ids=["blocks", "zoo"],
)
def test_hooks_that_are_already_there_change_nothing(build, inputs) -> None:
    """A user's own full backward hooks, on `shortcut` and `branch` too, add nodes that compute nothing."""
    model = build()
    plain = find_units(model, inputs())
    for module in model.modules():
        module.register_full_backward_hook(lambda *_: None)
    assert list(find_units(model, inputs())) == list(plain)


def test_a_module_that_runs_twice_is_two_units() -> None:
    """A recurrent network's shared unit is found each time that it runs."""
    shared = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
    model = nn.ModuleDict({"shared": shared})

    def forward(x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + shared(x)
        return x

    model.forward = forward
    found = find_units(model, rows())
    assert [unit.name for unit in found] == ["", "", ""]
    assert {unit.branch_parameters for unit in found} == {found[0].branch_parameters}


def test_checkpointed_blocks_are_units() -> None:
    """Checkpointing a block, or the branch alone, hides nothing where it is not reentrant."""
    for unit in (
        lambda x, f: checkpoint(lambda value: value + f(value), x, use_reentrant=False),
        lambda x, f: x + checkpoint(f, x, use_reentrant=False),
    ):
        assert [unit.shortcut for unit in find_units(Chain(unit), rows())] == ["identity"] * 3


def test_reentrant_checkpointing_is_refused_with_the_way_out() -> None:
    """Reentrant checkpointing hides what it holds, so the error names `use_reentrant=False`."""
    for unit in (
        lambda x, f: checkpoint(lambda value: value + f(value), x, use_reentrant=True),
        lambda x, f: x + checkpoint(f, x, use_reentrant=True),
    ):
        with pytest.raises(GradflowError, match="use_reentrant=False"):
            find_units(Chain(unit), rows())


class AsksForGradients(Chain):
    """A network that wants a gradient of its input, as wav2vec 2.0 does."""

    def forward(self, x: Tensor) -> Tensor:
        x.requires_grad = True
        assert x.requires_grad
        return super().forward(x)


def test_networks_that_ask_for_a_gradient_of_their_input() -> None:
    """An input that has been given a history needs one already, so that asking for it is no error."""
    assert len(find_units(AsksForGradients(), rows())) == 3
    x = (rows() * 1).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf"):  # torch's own error, which this is about
        (2 * x).requires_grad = True


class Recurrence(nn.Module):
    """h + F(h, x_t) over the columns of x, with the same weights or with others at each step.

    Args:
        shared: whether with the same ones.
    """

    def __init__(self, *, shared: bool) -> None:
        super().__init__()
        self.begin = nn.Linear(1, WIDTH)
        cells = [nn.Linear(WIDTH + 1, WIDTH) for _ in range(WIDTH)]
        self.cells = nn.ModuleList(cells[:1] * WIDTH if shared else cells)

    def forward(self, x: Tensor) -> Tensor:
        columns = x.tanh()
        h = self.begin(columns[:, :1])
        for step, cell in enumerate(self.cells):
            h = h + torch.tanh(cell(torch.cat([h, columns[:, step : step + 1]], 1)))
        return h


def test_recurrences_are_told_by_their_weights() -> None:
    """With weights of their own the steps are layers; with shared ones all but the first are passed over."""
    assert len(find_units(Recurrence(shared=False), rows())) == WIDTH
    found = find_units(Recurrence(shared=True), rows())
    assert len(found) == 1
    assert [over.reason.partition(":")[0] for over in found.passed_over] == ["a recurrence"] * (WIDTH - 1)
