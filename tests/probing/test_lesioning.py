"""Running networks with lesions, held against networks that were edited by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from cases import GPT2, RESNET18, ZOO, Case, each
from left_alone import Snapshot
from small_networks import Chain, rows, seeded
from torch import Tensor, nn

from gradflow import build_model
from gradflow.errors import ProbeError
from gradflow.probing.lesioning import Lesion, lesionable


def on_images(model: nn.Module, images: Tensor) -> Tensor:
    """Return the outputs in evaluation mode, with nothing attached."""
    with torch.no_grad():
        return copy.deepcopy(model).eval()(images)


@each([*ZOO, RESNET18])
def test_without_a_lesion_nothing_changes(case: Case) -> None:
    """No lesion gives the network's own outputs, bit for bit, and each lesion others."""
    model, images = case.build(), case.inputs()
    with lesionable(model, images) as network:
        whole = network.run(images, Lesion())
        others = [network.run(images, Lesion(frozenset([unit]))) for unit in network.removable]
    assert torch.equal(whole, on_images(model, images))
    assert all(not torch.equal(whole, other) for other in others)
    assert network.removable == list(range(len(network.units)))


@pytest.mark.parametrize("unit", [0, 3, 4, 8])
def test_removed_unit_is_one_whose_branch_is_zero(unit: int) -> None:
    """Leaving a unit out is what setting its last convolution's weights to 0 does, bit for bit."""
    model, images = build_model("preact20", width=4), torch.randn(3, 3, 8, 8)
    edited = copy.deepcopy(model)
    with torch.no_grad():
        edited.get_submodule(f"stage{unit // 3 + 1}")[unit % 3].branch.conv2.weight.zero_()
    with lesionable(model, images) as network:
        found = network.run(images, Lesion(frozenset([unit])))
        assert torch.equal(found, on_images(edited, images))
        assert not torch.equal(network.run(images, Lesion(frozenset([(unit + 1) % 9]))), found)


def test_additions_in_place_are_lesioned_too() -> None:
    """torchvision's units add in place, into the branch: with its last BN at 0 the result is the same."""
    model, images = RESNET18.build(), RESNET18.inputs()
    edited = copy.deepcopy(model)
    for name in ("layer1.1", "layer3.0"):
        nn.init.zeros_(edited.get_submodule(name).bn2.weight)
    with lesionable(model, images) as network:
        units = [unit.index for unit in network.units if unit.name in {"layer1.1", "layer3.0"}]
        found = network.run(images, Lesion(frozenset(units)))
    assert torch.equal(found, on_images(edited, images))


def test_subtracted_branches_are_lesioned_too() -> None:
    """A unit that is written x − f(x) is left out like any other, and so is one that subtracts in place."""
    for combine in (lambda x, f: x - f(x), lambda x, f: x.clone().sub_(f(x))):
        model = seeded(lambda combine=combine: Chain(combine))
        edited = copy.deepcopy(model)
        for parameter in edited.branches[1][-1].parameters():
            nn.init.zeros_(parameter)
        with lesionable(model, rows()) as network:
            found = network.run(rows(), Lesion(frozenset([1])))
            assert torch.equal(found, on_images(edited, rows()))
            assert not torch.equal(network.run(rows(), Lesion()), found)


def test_exchanged_units_are_exchanged_modules() -> None:
    """Exchanging two units is what exchanging their modules does, bit for bit."""
    model, images = build_model("resnet20", width=4), torch.randn(3, 3, 8, 8)
    edited = copy.deepcopy(model)
    edited.stage2[1], edited.stage2[2] = edited.stage2[2], edited.stage2[1]
    with lesionable(model, images) as network:
        found = network.run(images, Lesion(exchanged={4: 5, 5: 4}))
        assert network.exchangeable == [(0, 1, 2), (4, 5), (7, 8)]
    assert torch.equal(found, on_images(edited, images))
    assert not torch.equal(found, on_images(model, images))


def test_named_block_hands_on_its_input() -> None:
    """In a plain network a block is left out by its input taking its output's place."""
    model, images = build_model("plain20", width=4), torch.randn(3, 3, 8, 8)
    edited = copy.deepcopy(model)
    edited.stage2[1] = nn.Identity()
    with lesionable(model, images, units=r"stage\d\.\d+") as network:
        found = network.run(images, Lesion(frozenset([4])))
        assert 3 not in network.removable  # it changes the shape
        with pytest.raises(ProbeError, match=r"unit 3 cannot be removed.*units that can: 0, 1, 2, 4"):
            network.run(images, Lesion(frozenset([3])))
    assert torch.equal(found, on_images(edited, images))


def test_token_models_are_lesioned() -> None:
    """GPT-2's attention and feed-forward units are left out one by one; two share a module, so none moves."""
    model, inputs = GPT2.build(), GPT2.inputs()
    edited = copy.deepcopy(model)
    for name in ("weight", "bias"):
        nn.init.zeros_(getattr(edited.transformer.h[1].mlp.c_proj, name))
    with lesionable(model, inputs) as network, torch.no_grad():
        found = network.run(inputs, Lesion(frozenset([3]))).logits
        assert torch.equal(found, edited.eval()(**inputs).logits)
        assert network.exchangeable == []
        with pytest.raises(ProbeError, match=r"units 0 and 1 cannot be exchanged; .*: none"):
            network.run(inputs, Lesion(exchanged={0: 1, 1: 0}))


def test_frozen_statistics_stay_in_place() -> None:
    """In mode `frozen` a lesioned network is normalised by its own batch, as an edited one is."""
    model, images = build_model("preact20", width=4), torch.randn(3, 3, 8, 8)
    edited = copy.deepcopy(model)
    with torch.no_grad():
        edited.stage1[1].branch.conv2.weight.zero_()
        expected = edited.train()(images)
    with lesionable(model, images, bn="frozen") as network:
        found = network.run(images, Lesion(frozenset([1])))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_half_an_exchange_is_refused() -> None:
    """A unit cannot run in two places."""
    model, images = build_model("resnet20", width=4), torch.randn(3, 3, 8, 8)
    with lesionable(model, images) as network, pytest.raises(ProbeError, match="exactly one place"):
        network.run(images, Lesion(exchanged={4: 5, 5: 5}))


def test_network_that_changes_is_refused() -> None:
    """Where the number of additions changes from pass to pass, units cannot be told by their order."""

    class Changing(Chain):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            return super().forward(x + x if self.passes > 1 else x)

    with (
        lesionable(seeded(Changing), rows()) as network,
        pytest.raises(ProbeError, match="ran 4 additions of equal shapes, and 3 when traced"),
    ):
        network.run(rows(), Lesion(frozenset([1])))


def test_everything_is_left_as_it_was() -> None:
    """Neither a lesion nor an exchange leaves a trace, also if the forward pass raises in the middle."""
    model, images = build_model("resnet20", width=4), torch.randn(3, 3, 8, 8)
    own = model.stage1[0].forward
    before = Snapshot(model)
    with lesionable(model, images, bn="batch") as network:
        network.run(images, Lesion(frozenset([1]), {4: 5, 5: 4}))
        with pytest.raises(RuntimeError, match="channels"):
            network.run(images[:, :2], Lesion(frozenset([1]), {4: 5, 5: 4}))
    before.assert_unchanged()
    assert "forward" not in vars(model.stage2[1])
    assert model.stage1[0].forward == own
