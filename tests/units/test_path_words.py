"""What stands at the ends of a branch, and how parameters enter it, of layers as people write them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from small_networks import Chain, ConvolutionalChain, labels, pictures, rows, seeded
from torch import Tensor, nn

import gradflow
from gradflow.record import Record


def probed(model: nn.Module, inputs: Tensor | None = None) -> Record:
    """Return a probe of `model`."""
    inputs = rows() if inputs is None else inputs
    return gradflow.probe(model, inputs, labels(len(inputs)))


def entering(record: Record) -> dict[str, str | None]:
    """Return how each parameter enters, by name."""
    told = record.parameters["enters"]
    return dict(zip(record.parameters["name"], told.astype(object).where(told.notna(), None), strict=True))


def test_linear_layers_and_normalisations() -> None:
    """Weights and scales multiply, biases add; stem and head are in no unit."""
    told = entering(probed(seeded(ConvolutionalChain), pictures(4)))
    assert told["stem.weight"] is None
    assert told["head.bias"] is None
    for name, way in told.items():
        if name.startswith("branches."):
            assert way == ("adds" if name.endswith("bias") else "multiplies"), name


def test_attention_with_one_weight_for_all_three() -> None:
    """Parts of one parameter are followed to it."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.unsqueeze(1)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0].squeeze(1)  # type: ignore[no-any-return]

    model = seeded(Chain)
    model.branches = nn.ModuleList(Attending() for _ in range(2))
    told = entering(probed(model))
    assert told["branches.0.attention.in_proj_weight"] == "multiplies"
    assert told["branches.0.attention.in_proj_bias"] == "adds"
    assert told["branches.0.attention.out_proj.weight"] == "multiplies"


@pytest.mark.parametrize(
    ("combine", "end"),
    [
        (lambda x, f: x + f(x), "addmm"),
        (lambda x, f: x + F.relu(f(x)), "addmm+relu"),
        (lambda x, f: x + 0.5 * f(x), "addmm+mul_by_constant"),
        (lambda x, f: x + f(x) * torch.ones(len(x), 1), "addmm+mul_by_constant"),
        (lambda x, f: x + f(x) / 2, "addmm+mul_by_constant"),
    ],
    ids=["linear", "relu", "number", "mask", "quotient"],
)
def test_ends(combine: Callable[[Tensor, nn.Module], Tensor], end: str) -> None:
    """The end is what stands between the last weight and the addition."""
    units = probed(seeded(lambda: Chain(combine))).units
    assert units["branch_end"].tolist() == [end] * 3
    assert units["branch_start"].tolist() == ["addmm"] * 3
    assert units["head_start"].isna().tolist() == [True, True, False]
    assert units["head_start"].iloc[-1] == "addmm"
    assert units["dropped_samples"].tolist() == [0, 0, 0]


def test_named_blocks_have_no_branch() -> None:
    """A block that a user names is all there is; what follows it is told."""
    plain = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 3))
    units = gradflow.probe(plain, rows(), labels(), units=["0", "1"]).units
    assert units["branch_start"].isna().all()
    assert units["branch_end"].isna().all()
    assert units["head_start"].iloc[-1] == "layer_norm+addmm"


def test_samples_that_are_zero_are_counted_one_by_one() -> None:
    """A mask of two samples leaves two; a mask that differs within a sample drops none."""
    mask = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0])
    by_sample = probed(seeded(lambda: Chain(lambda x, f: x + mask[:, None] * f(x)))).units
    assert by_sample["dropped_samples"].tolist() == by_sample["zero_branch_samples"].tolist() == [2, 2, 2]
    within = torch.ones(5, 4)
    within[:, 0] = 0
    units = probed(seeded(lambda: Chain(lambda x, f: x + within * f(x)))).units
    assert units["dropped_samples"].tolist() == units["zero_branch_samples"].tolist() == [0, 0, 0]
