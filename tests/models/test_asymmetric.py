"""The asymmetric writing of a pre-activation network: the same function on the same weights."""

from __future__ import annotations

import pytest
import torch

from gradflow import build_model
from gradflow.errors import UnknownModelError
from gradflow.models.asymmetric import AsymmetricNetwork, has_asymmetric_writing

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    "shortcut", ["identity", "scale:0.5,0.5", "gate:exclusive,-1", "gate:shortcut,-1", "conv"]
)
@pytest.mark.parametrize("name", ["preact14", "preact20-bottleneck", "preact8-single"])
def test_it_computes_the_same(name: str, shortcut: str) -> None:
    """Every parameter is shared, and the outputs agree to rounding."""
    network = build_model(name, width=4, shortcut=shortcut).double()
    rewritten = AsymmetricNetwork(network)
    assert set(rewritten.parameters()) == set(network.parameters())
    torch.testing.assert_close(rewritten(IMAGES), network(IMAGES), rtol=1e-12, atol=1e-12)


def test_relu_before_the_weights_alone_has_one_too() -> None:
    """f̂ is whatever the network puts before its weights: ReLU without BN, too."""
    network = build_model("resnet20", width=4, activation="relu-only").double()
    torch.testing.assert_close(AsymmetricNetwork(network)(IMAGES), network(IMAGES), rtol=1e-12, atol=1e-12)


def test_a_changed_weight_is_seen() -> None:
    """The comparison can fail: with one weight off by a thousandth, outputs differ."""
    network = build_model("preact20", width=4).double()
    expected = network(IMAGES)
    rewritten = AsymmetricNetwork(network)
    with torch.no_grad():
        rewritten.units[1].branch.conv2.weight.mul_(1.001)
    assert (rewritten(IMAGES) - expected).norm() > 1e-6 * expected.norm()


@pytest.mark.parametrize("name", ["resnet20", "plain20"])
def test_other_networks_have_none(name: str) -> None:
    """A network that activates after the addition is refused, with what is expected."""
    network = build_model(name, width=4)
    assert not has_asymmetric_writing(network)
    with pytest.raises(
        UnknownModelError, match=rf"{name} --width 4 has no asymmetric writing; expected a pre-"
    ):
        AsymmetricNetwork(network)
