"""The residual unit: what its modules see, against the paper's formulas written out by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.models import Unit, build_model

UNITS_AND_VARIANTS = [
    (name, shortcut)
    for name in ("preact14", "resnet11", "preact11-single")
    for shortcut in (
        "identity",
        "conv",
        "scale:0.5,0.5",
        "gate:exclusive,-1",
        "gate:shortcut,-1",
        "dropout:0.5,unscaled",
    )
]


def images() -> Tensor:
    """Return a small batch of noise in float64, the same on every call."""
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def shuffled(model: nn.Module) -> nn.Module:
    """Give BN weights, biases and running statistics other values than 1 and 0, so that each one counts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


class ByHand:
    """The paper's networks as bare formulas over a dictionary of weights, in eval mode."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = model.state_dict()

    def conv(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(self, x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            self.weights[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def head(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) @ self.weights["head.weight"].T + self.weights["head.bias"]


def test_preact_basic_network_is_the_papers() -> None:
    """First activation before the split, option A on the activated signal, last BN-ReLU: all by hand."""
    model = shuffled(build_model("preact14").double().eval())
    hand = ByHand(model)
    x = hand.conv(images(), "stem.conv")
    for stage in (1, 2, 3):
        for unit in (0, 1):
            name = f"stage{stage}.{unit}"
            stride = 2 if stage > 1 and unit == 0 else 1
            if unit == 0:
                activated = x = F.relu(hand.bn(x, f"{name}.pre_activation.bn"))
            else:
                activated = F.relu(hand.bn(x, f"{name}.branch.bn1"))
            f = hand.conv(activated, f"{name}.branch.conv1", stride)
            f = hand.conv(F.relu(hand.bn(f, f"{name}.branch.bn2")), f"{name}.branch.conv2")
            if stride == 2:
                x = torch.cat([x[:, :, ::2, ::2], torch.zeros_like(x[:, :, ::2, ::2])], dim=1)
            x = x + f
    logits = hand.head(F.relu(hand.bn(x, "final_activation.bn")))
    torch.testing.assert_close(model(images()), logits, rtol=1e-12, atol=0)


def test_preact_bottleneck_network_is_the_papers() -> None:
    """Every stage's first unit projects the activated signal by a bare 1×1, stride on the first 1×1."""
    model = shuffled(build_model("preact20-bottleneck").double().eval())
    hand = ByHand(model)
    x = hand.conv(images(), "stem.conv")
    for stage in (1, 2, 3):
        for unit in (0, 1):
            name = f"stage{stage}.{unit}"
            stride = 2 if stage > 1 and unit == 0 else 1
            where = "pre_activation.bn" if unit == 0 else "branch.bn1"
            activated = F.relu(hand.bn(x, f"{name}.{where}"))
            f = hand.conv(activated, f"{name}.branch.conv1", stride)
            f = hand.conv(F.relu(hand.bn(f, f"{name}.branch.bn2")), f"{name}.branch.conv2")
            f = hand.conv(F.relu(hand.bn(f, f"{name}.branch.bn3")), f"{name}.branch.conv3")
            x = f + (hand.conv(activated, f"{name}.shortcut.conv", stride) if unit == 0 else x)
    logits = hand.head(F.relu(hand.bn(x, "final_activation.bn")))
    torch.testing.assert_close(model(images()), logits, rtol=1e-12, atol=0)


def test_post_activation_bottleneck_network_is_the_papers() -> None:
    """Conv, BN, ReLU; a projection with BN; ReLU after the addition; nothing after the last unit."""
    model = shuffled(build_model("resnet20-bottleneck").double().eval())
    hand = ByHand(model)
    x = F.relu(hand.bn(hand.conv(images(), "stem.conv"), "stem.activation.bn"))
    for stage in (1, 2, 3):
        for unit in (0, 1):
            name = f"stage{stage}.{unit}"
            stride = 2 if stage > 1 and unit == 0 else 1
            f = F.relu(hand.bn(hand.conv(x, f"{name}.branch.conv1", stride), f"{name}.branch.bn1"))
            f = F.relu(hand.bn(hand.conv(f, f"{name}.branch.conv2"), f"{name}.branch.bn2"))
            f = hand.bn(hand.conv(f, f"{name}.branch.conv3"), f"{name}.branch.bn3")
            if unit == 0:
                x = hand.bn(hand.conv(x, f"{name}.shortcut.conv", stride), f"{name}.shortcut.bn")
            x = F.relu(x + f)
    torch.testing.assert_close(model(images()), hand.head(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("name", "shortcut"), UNITS_AND_VARIANTS)
def test_hooks_on_shortcut_and_branch_see_what_is_added(name: str, shortcut: str) -> None:
    """The unit's y is the sum of the two modules' outputs, and nothing changes them, or x, afterwards."""
    model = build_model(name, shortcut=shortcut, width=4).double()
    unit = model.stage2[0]
    seen: dict[str, tuple[Tensor, int]] = {}

    def keep(key: str) -> None:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            for what, tensor in ((f"{key}.x", inputs[0]), (key, output)):
                seen[what] = (tensor, tensor._version)

        getattr(unit, key).register_forward_hook(hook)

    keep("shortcut")
    keep("branch")
    results: list[Tensor] = []
    unit.post_activation.register_forward_pre_hook(lambda _module, inputs: results.append(inputs[0]))
    model(images()).sum().backward()
    assert torch.equal(results[0], seen["shortcut"][0] + seen["branch"][0])
    assert torch.equal(seen["shortcut.x"][0], seen["branch.x"][0])
    assert all(tensor._version == version for tensor, version in seen.values())


@pytest.mark.parametrize(("name", "shortcut"), UNITS_AND_VARIANTS)
def test_full_backward_hooks_can_be_attached(name: str, shortcut: str) -> None:
    """What arrives at both modules is ∂E/∂y, and the parts add up to ∂E/∂x where no gate mixes them."""
    model = build_model(name, shortcut=shortcut, width=4).double()
    unit = model.stage2[0]
    parts: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(key: str) -> None:
        getattr(unit, key).register_full_backward_hook(
            lambda _module, grad_in, grad_out: parts.__setitem__(key, (grad_in[0], grad_out[0]))
        )

    keep("shortcut")
    keep("branch")
    forks: list[Tensor] = []
    unit.shortcut.register_forward_pre_hook(
        lambda _module, inputs: inputs[0].retain_grad() or forks.append(inputs[0])
    )
    model(images()).sum().backward()
    assert torch.equal(parts["shortcut"][1], parts["branch"][1])
    if "exclusive" not in shortcut:
        total = parts["shortcut"][0] + parts["branch"][0]
        torch.testing.assert_close(total, forks[0].grad, rtol=1e-12, atol=1e-300)


def order_of_layers(unit: Unit, x: Tensor) -> list[str]:
    """Run the unit and return its layers in the order of execution, with the addition among them."""
    words = {nn.Conv2d: "weight", nn.BatchNorm2d: "BN", nn.ReLU: "ReLU"}
    order: list[str] = []
    for module in unit.modules():
        if type(module) in words:
            module.register_forward_hook(lambda module, *_: order.append(words[type(module)]))
    unit.branch.register_forward_hook(lambda *_: order.append("addition"))
    unit(x)
    return order


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("original", "weight BN ReLU weight BN addition ReLU"),
        ("bn-after", "weight BN ReLU weight addition BN ReLU"),
        ("relu-before", "weight BN ReLU weight BN ReLU addition"),
        ("relu-only", "ReLU weight BN ReLU weight BN addition"),
        ("full-preact", "BN ReLU weight BN ReLU weight addition"),
    ],
)
def test_activations_are_figure_4(activation: str, expected: str) -> None:
    """Layers of an ordinary unit run in the order of the paper's figure 4 (a) to (e)."""
    unit = build_model("resnet14", activation=activation).stage1[1]
    assert order_of_layers(unit, torch.randn(2, 16, 4, 4)) == expected.split()


@pytest.mark.parametrize(
    ("activation", "stem", "final"),
    [
        ("original", ["bn", "relu"], []),
        ("bn-after", ["bn", "relu"], []),
        ("relu-before", ["bn", "relu"], []),
        ("relu-only", ["bn"], ["relu"]),
        ("full-preact", [], ["bn", "relu"]),
    ],
)
def test_the_ends_of_the_network_follow_the_activation(
    activation: str, stem: list[str], final: list[str]
) -> None:
    """What moves to the head of the branches leaves the stem, and comes back after the last addition."""
    model = build_model("resnet8", activation=activation)
    behind_stem = getattr(model.stem, "activation", nn.Sequential())
    assert [name for name, _ in behind_stem.named_children()] == stem
    assert [name for name, _ in model.final_activation.named_children()] == final


def test_preact_is_resnet_with_full_preactivation() -> None:
    """The two names of one network give the same bits."""
    first = build_model("preact20").state_dict()
    second = build_model("resnet20", activation="full-preact").state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
