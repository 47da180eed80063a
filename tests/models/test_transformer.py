"""The small transformers: initialisation, the two places of the normalisation, and their units."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gradflow
from gradflow.models.transformer import PostNormTransformer, PreNormTransformer


def sequences() -> torch.Tensor:
    """Two sequences of five vectors."""
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [PreNormTransformer, PostNormTransformer])
def test_every_sublayer_is_a_residual_unit(kind: type[nn.Module]) -> None:
    """Attention and feed-forward of each layer are found, with what follows the addition."""
    units = gradflow.find_units(kind(layers=3, width=16), sequences())
    assert len(units) == 6
    assert {unit.shortcut for unit in units} == {"identity"}
    expected = "layer_norm" if kind is PostNormTransformer else "identity"
    assert {unit.post_activation for unit in units[:-1]} == {expected}


def test_a_seed_decides_the_weights() -> None:
    """The same seed gives the same bits, whatever torch's own generator does; another gives others."""
    first = PreNormTransformer(layers=1, width=16, seed=3).state_dict()
    torch.rand(7)
    again = PreNormTransformer(layers=1, width=16, seed=3).state_dict()
    other = PreNormTransformer(layers=1, width=16, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_post_normalised_states_have_norm_root_d() -> None:
    """Behind every addition of a post-LN network ‖x‖² is d, token by token."""
    model = PostNormTransformer(layers=2, width=16)
    states = model.layers(sequences())
    assert states.square().sum(-1).flatten().tolist() == pytest.approx([16.0] * 10, rel=1e-3)


def test_its_feed_forward_weights_are_one_a_layer() -> None:
    """W₂ of every layer, in order."""
    model = PreNormTransformer(layers=3, width=16)
    assert [weight.shape for weight in model.feed_forward_weights()] == [(16, 16)] * 3
    assert model.feed_forward_weights()[0] is model.layers[1].branch.second.weight
