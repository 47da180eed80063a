"""Why nothing comes back through a branch: zero factors, dead ReLUs and dropped samples are told apart."""

from __future__ import annotations

import pytest
import torch
import torchvision
from small_networks import Chain, ConvolutionalChain, labels, pictures, rows, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

import gradflow
from gradflow.errors import LimitError
from gradflow.findings import findings
from gradflow.record import Record
from gradflow.testing import assert_gradient_flow

SILENT = "Nothing comes back through the branch of"
DEAD = "An activation is off there for the whole batch, as a dead ReLU is."
LEARNS = "it gets a gradient itself, so this ends when it is trained"
STUCK = "Training does not end this."
DROPPED = "The branch was dropped for every sample in"
UNREAD = "Either it is a mask that dropped these samples, as stochastic depth does, or the branch is dead"


def said_of(model: nn.Module, inputs: Tensor | None = None) -> str:
    """Return the findings about a probe of `model`."""
    inputs = rows() if inputs is None else inputs
    return "\n".join(findings(gradflow.probe(model, inputs, labels(len(inputs)))))


class Branched(Chain):
    """A chain whose branches have a ReLU between two linear layers.

    Args:
        zero_biases: whether all biases of the branches start at 0.
        last: makes what stands behind them.
    """

    def __init__(self, *, zero_biases: bool = False, last: type[nn.Module] = nn.Identity) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), last()) for _ in range(3)
        )
        for f in self.branches if zero_biases else ():
            nn.init.zeros_(f[0].bias)
            nn.init.zeros_(f[2].bias)


class Scale(nn.Module):
    """Multiplies by one number that is learnt and starts at 0, as ReZero does."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.alpha * x


def kill(layer: nn.Module) -> None:
    """Make every output of `layer` so negative that a ReLU behind it lets nothing through."""
    with torch.no_grad():
        layer.bias.fill_(-1e3)  # type: ignore[operator]


def test_a_dead_relu_in_the_middle_is_named_with_how_far_the_gradient_comes() -> None:
    """What lies behind it still gets a gradient; half a layer that is off is not dead."""
    dead = seeded(Branched)
    kill(dead.branches[1][0])
    said = said_of(dead)
    assert f"{SILENT} unit 1 (identity), although a gradient arrives there and no factor in it is 0" in said
    assert (
        "3 of 4 parameter tensors get a gradient of exactly 0; it gets as far as branches.1.2.bias," in said
    )
    assert DEAD in said
    half = seeded(Branched)
    with torch.no_grad():
        half.branches[1][0].bias[:2] = -1e3
    assert SILENT not in said_of(half)


@pytest.mark.parametrize("bias", [False, True], ids=["no bias is 0", "all biases are 0"])
def test_biases_of_zero_stop_nothing(bias: bool) -> None:
    """A dead ReLU is one whatever the biases are; and a network with biases of 0 has nothing that is dead."""
    model = seeded(lambda: Branched(zero_biases=bias))
    assert SILENT not in said_of(model)
    kill(model.branches[1][0])
    said = said_of(model)
    assert DEAD in said
    assert LEARNS not in said


def test_a_dead_relu_before_a_last_batch_norm() -> None:
    """Batch normalisation's bias of 0 gets a gradient, and is no reason; the ReLU behind bn1 is."""
    model = seeded(lambda: torchvision.models.resnet18(num_classes=3))
    assert SILENT not in said_of(model, pictures(4, 32))
    kill(model.layer1[1].bn1)
    said = said_of(model, pictures(4, 32))
    assert f"{SILENT} unit 1 (layer1.1, identity), although a gradient arrives" in said
    assert "it gets as far as layer1.1.bn2.bias, behind what stops it" in said
    assert DEAD in said
    assert LEARNS not in said


def test_last_normalisations_that_start_at_zero_learn() -> None:
    """Where a network starts with a scale of 0 in every branch, the scale is named, and no ReLU."""
    build = torchvision.models.resnet18
    model = seeded(lambda: build(num_classes=3, zero_init_residual=True))
    said = said_of(model, pictures(4, 32))
    assert "a factor in it is 0 (layer1.0.bn2.weight), and nothing goes back through that" in said
    assert LEARNS in said
    assert DEAD not in said
    # The same scale behind a dead ReLU gets no gradient, and so does not end by itself.
    kill(model.layer1[1].bn1)
    said = said_of(model, pictures(4, 32))
    assert (
        f"{SILENT} unit 1 (layer1.1, identity): a factor in it is 0 (layer1.1.bn2.weight), and it gets no"
        in said
    )
    assert STUCK in said


@pytest.mark.parametrize("last", ["weight", "alpha"])
def test_zero_layers_and_residual_scalars_learn(last: str) -> None:
    """A last layer of zeros, and ReZero's α, stop the gradient and get one."""
    model = seeded(lambda: Branched(last=Scale if last == "alpha" else nn.Identity))
    if last == "weight":
        with torch.no_grad():
            for f in model.branches:
                f[2].weight.zero_()
                f[2].bias.zero_()
    said = said_of(model)
    name = "branches.0.3.alpha" if last == "alpha" else "branches.0.2.weight"
    assert f"a factor in it is 0 ({name})" in said
    assert LEARNS in said
    assert DEAD not in said


def test_two_layers_of_zeros_get_no_gradient_from_each_other() -> None:
    """Neither learns; one that is frozen does not either."""
    model = seeded(lambda: Branched(zero_biases=True))
    with torch.no_grad():
        model.branches[0][0].weight.zero_()
        model.branches[0][2].weight.zero_()
    assert STUCK in said_of(model)
    frozen = seeded(lambda: Branched(last=Scale))
    for f in frozen.branches:
        f[3].alpha.requires_grad_(False)
    assert LEARNS not in said_of(frozen)


def test_a_zero_projection_on_the_shortcut_is_not_the_branchs() -> None:
    """Its weight gets a gradient and is a factor, but no way of the branch's."""
    model = seeded(lambda: Chain(lambda x, f: f[3](x) + f[:3](x)))
    model.branches = nn.ModuleList(
        nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4), nn.Linear(4, 4, bias=False))
        for _ in range(3)
    )
    with torch.no_grad():
        model.branches[1][3].weight.zero_()
    kill(model.branches[1][0])
    model.branches[1][3].weight.requires_grad_(True)
    record = gradflow.probe(model, rows(), labels())
    enters = record.parameters.set_index("name")["enters"]
    assert enters["branches.1.3.weight"] == "shortcut"
    assert enters["branches.1.2.weight"] == "multiplies"
    assert enters["branches.1.2.bias"] == "adds"
    said = "\n".join(findings(record))
    assert "branches.1.3.weight" not in said


class DropPath(Chain):
    """A pre-normalised chain with stochastic depth behind its branches.

    Args:
        p: with which each sample is dropped.
        mode: 'row' for each sample by itself, 'batch' for all together.
        checkpointed: whether the branches run with activation checkpointing.
    """

    def __init__(self, p: float, mode: str = "row", *, checkpointed: bool = False) -> None:
        super().__init__(self._add)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), StochasticDepth(p, mode)
            )
            for _ in range(3)
        )
        self.checkpointed = checkpointed

    def _add(self, x: Tensor, f: nn.Module) -> Tensor:
        def unit(x: Tensor) -> Tensor:
            return x + f(x)

        return checkpoint(unit, x, use_reentrant=False) if self.checkpointed else unit(x)  # type: ignore[no-any-return]


def probed(model: nn.Module, seed: int, batch: int = 2) -> Record:
    """Return a probe with the masks that `seed` draws."""
    torch.manual_seed(seed)
    return gradflow.probe(model, rows(batch), labels(batch), meta={"seeds": [seed]})


def test_masks_are_counted_as_they_were_drawn() -> None:
    """The dropped samples of each unit are those whose F is 0, for rows and whole batches."""
    for mode in ("row", "batch"):
        model = seeded(lambda mode=mode: DropPath(0.5, mode))
        counts = [probed(model, seed).units[["dropped_samples", "zero_branch_samples"]] for seed in range(8)]
        drawn = [tuple(one["dropped_samples"]) for one in counts]
        assert drawn == [tuple(one["zero_branch_samples"]) for one in counts]
        values = {count for one in drawn for count in one}
        assert values == ({0, 1, 2} if mode == "row" else {0, 2})
    assert probed(seeded(Branched), 0).units["dropped_samples"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_dropped_units_are_neither_dead_nor_idle(mode: str) -> None:
    """They are named, and left out of what is said of branches; a dead unit beside them is dead."""
    model = seeded(lambda: DropPath(0.5, mode))
    records = [probed(model, seed) for seed in range(5)]
    dropped = [one for one in records if (one.units["dropped_samples"] == 2).any()]
    assert 0 < len(dropped) < len(records)
    for record in records:
        said = "\n".join(findings(record))
        assert SILENT not in said
        assert "next to nothing" not in said
        assert (DROPPED in said) == any(record is one for one in dropped)
        for unit in record.units[record.units["dropped_samples"] == 2]["unit"]:
            assert f"unit {unit} (identity)" in said[said.index(DROPPED) :]
    # Of several batches in which each unit ran once, none is left out of anything.
    assert DROPPED not in "\n".join(findings(Record.concat(records)))
    kill(model.branches[1][1])
    ran = []
    for seed in range(5):
        record = probed(model, seed)
        ran.append(record.units["dropped_samples"][1] < 2)
        assert (f"{SILENT} unit 1 (identity), although" in "\n".join(findings(record))) == ran[-1]
    assert set(ran) == {True, False}


def test_a_dead_branch_that_is_scaled_by_a_number_is_dead() -> None:
    """A number that is not 0 drops nothing; 0 does, and learns no more than a mask."""
    model = seeded(lambda: Branched(zero_biases=True))
    model.combine = lambda x, f: x + 0.5 * f(x)
    kill(model.branches[1][0])
    said = said_of(model)
    assert DEAD in said
    assert DROPPED not in said
    model.combine = lambda x, f: x + 0.0 * f(x)
    assert DROPPED in said_of(model)


def test_masks_that_cannot_be_read_leave_both_possibilities() -> None:
    """With activation checkpointing nobody looks at the mask: dropped or dead, it may be either."""
    model = seeded(lambda: DropPath(0.5, checkpointed=True))
    plain = seeded(lambda: DropPath(0.5))
    both = [(probed(model, seed), probed(plain, seed)) for seed in range(3)]
    assert any((one.units["zero_branch_samples"] == 2).any() for one, _ in both)
    for hidden, seen in both:
        assert hidden.units["dropped_samples"].isna().all()
        assert hidden.units["zero_branch_samples"].tolist() == seen.units["zero_branch_samples"].tolist()
        said = "\n".join(findings(hidden))
        assert (UNREAD in said) == (DROPPED in "\n".join(findings(seen)))
        assert SILENT not in said


def test_the_gate_leaves_dropped_branches_out() -> None:
    """A healthy network passes with any mask; one with a dead branch fails."""
    model = seeded(lambda: DropPath(0.5))
    refused = 0
    for seed in range(8):
        torch.manual_seed(seed)
        try:
            record = assert_gradient_flow(model, rows(2), labels(2), min_branch_share=1e-6)
        except LimitError as error:
            refused += 1
            assert "every unit's branch was dropped for the whole batch" in str(error)  # noqa: PT017
            continue
        assert (record.units["dropped_samples"] < 2).any()
    assert refused < 8
    with pytest.raises(AssertionError, match="branch_share is 0, and is to be at least 1e-06"):
        assert_gradient_flow(zero_branch(), rows(), labels(), min_branch_share=1e-6)


def zero_branch() -> nn.Module:
    """Return a chain with a branch of zeros."""
    model = seeded(lambda: Branched(zero_biases=True))
    with torch.no_grad():
        model.branches[1][2].weight.zero_()
    return model


def test_every_dropped_branch_is_refused_by_the_gate() -> None:
    """What no unit has cannot be held to a limit, and does not pass in silence."""
    with pytest.raises(LimitError, match=r"every unit's branch was dropped .* larger batch"):
        assert_gradient_flow(
            seeded(lambda: DropPath(0.999, "batch")), rows(), labels(), min_branch_share=1e-6
        )


def test_healthy_convolutions_have_no_dead_branch() -> None:
    """Pre-activation units with ReLUs, some channels of which are always off."""
    assert SILENT not in said_of(seeded(ConvolutionalChain), pictures(4))
