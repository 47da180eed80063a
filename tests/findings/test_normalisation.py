"""A missing last normalisation is said of networks that are pre-normalised otherwise, and of no other."""

from __future__ import annotations

import pytest
import torch
from small_networks import Chain, ConvolutionalChain, labels, pictures, rows, seeded
from torch import Tensor, nn

import gradflow
from gradflow.findings import findings
from gradflow.models.transformer import PostNormTransformer, PreNormTransformer
from gradflow.record import Record

MISSING = "The last normalisation is missing"


def sentence(record: Record) -> str:
    """Return the sentence about it; empty if there is none."""
    return "".join(one for one in findings(record) if one.startswith(MISSING))


def transformer(*, last: bool) -> Record:
    """Return a probe of a pre-LN transformer."""
    model = PreNormTransformer(layers=2, width=8, num_classes=3)
    if not last:
        model.norm = nn.Identity()
    sequences = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(1))
    return gradflow.probe(model, sequences, labels())


def test_a_pre_ln_transformer_without_its_last_normalisation() -> None:
    """It is named with the units, the operations and how much x grows; with the normalisation it is not."""
    record = transformer(last=False)
    said = sentence(record)
    assert "unit 0 (layers.0, identity) to unit 3 (layers.3, identity)" in said
    assert "(layer_norm+addmm)" in said
    assert "what follows the last one (mean+addmm) takes its sum as it is" in said
    grown = record.units["sum_norm"].iloc[-1] / record.units["x_norm"].iloc[0]
    assert f"‖x‖ is multiplied by {grown:.3g}" in said
    assert not sentence(transformer(last=True))


def test_post_ln_has_none_missing() -> None:
    """Normalisations behind every addition leave nothing to normalise at the end."""
    model = PostNormTransformer(layers=2, width=8, num_classes=3)
    sequences = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(1))
    record = gradflow.probe(model, sequences, labels())
    assert not sentence(record)
    assert record.units["post_activation"].tolist()[:-1] == ["layer_norm"] * 3


def test_networks_that_never_normalise() -> None:
    """Where no branch normalises, nothing is missing."""
    assert not sentence(gradflow.probe(seeded(Chain), rows(), labels()))


@pytest.mark.parametrize("last", [True, False])
def test_pre_activation_networks(last: bool) -> None:
    """The paper's networks have BN and ReLU before the head; a ReLU alone is no normalisation."""
    model = gradflow.build_model("preact29-bottleneck", num_classes=3, width=4, seed=0)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if not last:
        model.set_submodule(norms[-1], nn.Identity())
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    record = gradflow.probe(model, images, labels(4))
    assert record.units["head_start"].iloc[-1].startswith("batch_norm+relu" if last else "relu")
    assert bool(sentence(record)) != last


class WrittenOut(nn.Module):
    """A root mean square normalisation as people write it.

    Args:
        how: with which functions.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "rsqrt":
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
        if self.how == "norm":
            return self.weight * x / x.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        if self.how == "functional":
            return self.weight * nn.functional.normalize(x, dim=-1)
        centred = x - x.mean(-1, keepdim=True)
        return self.weight * centred / (centred.var(-1, keepdim=True) + 1e-6).sqrt()


class Normalised(Chain):
    """Units x + F(n(x)), and a head behind a last normalisation or none."""

    def __init__(self, norm: nn.Module, last: nn.Module) -> None:
        super().__init__(lambda x, f: x + f(norm(x)))
        self.norm = norm
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for f in self.branches:
            x = self.combine(x, f)
        return self.head(self.last(x))


@pytest.mark.parametrize("how", ["rsqrt", "norm", "functional", "standardised"])
def test_normalisations_that_are_written_out(how: str) -> None:
    """They count in branches and behind the last unit, as a module's do."""
    without = seeded(lambda: Normalised(WrittenOut(how), nn.Identity()))
    record = gradflow.probe(without, rows(), labels())
    assert "normalisation" in record.units["branch_start"].iloc[0]
    assert sentence(record)
    model = seeded(lambda: Normalised(WrittenOut(how), WrittenOut(how)))
    assert not sentence(gradflow.probe(model, rows(), labels()))


@pytest.mark.parametrize(
    ("last", "missing"),
    [
        (nn.LayerNorm(4), False),
        (nn.GroupNorm(2, 4), False),
        (nn.RMSNorm(4), False),
        (nn.Sequential(nn.GELU(), nn.LayerNorm(4)), False),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), True),
        (nn.Tanh(), True),
    ],
    ids=["layer", "group", "rms", "after GELU", "behind a weight", "tanh"],
)
def test_what_counts_as_one(last: nn.Module, missing: bool) -> None:
    """Any normalisation before the first weight behind the last unit does; one behind a weight does not."""
    model = seeded(lambda: Normalised(nn.LayerNorm(4), last))
    assert bool(sentence(gradflow.probe(model, rows(), labels()))) == missing


def test_convolutional_chains_without_one() -> None:
    """Pre-activation units, whose head takes the mean of the last sum."""
    said = sentence(gradflow.probe(seeded(ConvolutionalChain), pictures(4), labels(4)))
    assert "(batch_norm+relu+convolution)" in said
    assert "(mean+addmm)" in said


def test_records_from_before_say_nothing() -> None:
    """Without the columns nothing is known of what follows, and nothing is said."""
    record = transformer(last=False)
    units = record.units.drop(columns=["branch_start", "head_start"])
    assert not sentence(Record(units, record.parameters, meta=record.meta))
