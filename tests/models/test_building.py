"""Networks built from specifications: sizes, seeds, and sources other than the zoo."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradflow
from gradflow.errors import UnknownModelError
from gradflow.models import ResidualNetwork, build_model


def size(model: nn.Module) -> int:
    """Return the number of elements of all parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def same_bits(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks have the same names and the same values."""
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# Counted with batch normalisation by other implementations of the paper's networks.
@pytest.mark.parametrize(
    ("name", "num_classes", "parameters"),
    [
        ("preact110", 10, 1_727_962),
        ("preact164", 10, 1_703_258),
        ("preact1001", 10, 10_327_706),
        ("resnet164", 10, 1_704_154),
        ("resnet1001", 10, 10_328_602),
        ("preact164", 100, 1_726_388),
        ("preact1001", 100, 10_350_836),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, num_classes: int, parameters: int) -> None:
    """The paper's networks have exactly the published number of parameters."""
    assert size(build_model(name, num_classes=num_classes)) == parameters


def test_a_plain_network_has_the_same_layers_without_the_projections() -> None:
    """plain{N} lacks of resnet{N} just what stands on the shortcuts."""
    plain, residual = build_model("plain29-bottleneck"), build_model("resnet29-bottleneck")
    on_shortcuts = {name for name in residual.state_dict() if ".shortcut." in name}
    assert on_shortcuts
    assert plain.state_dict().keys() == residual.state_dict().keys() - on_shortcuts
    assert all(unit.shortcut is None for unit in plain.stage1)


def test_equal_seeds_give_equal_bits_and_other_seeds_others() -> None:
    """Initial weights are a function of the seed."""
    assert same_bits(build_model("preact20", seed=3), build_model("preact20", seed=3))
    assert not same_bits(build_model("preact20", seed=3), build_model("preact20", seed=4))


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    """One thread and two draw the same weights."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = build_model("preact11-bottleneck", width=64)
        torch.set_num_threads(2)
        second = build_model("preact11-bottleneck", width=64)
    finally:
        torch.set_num_threads(threads)
    assert same_bits(first, second)


@pytest.mark.parametrize("spec", ["preact20", "torchvision:resnet18"])
def test_building_leaves_the_random_states_alone(spec: str) -> None:
    """The caller's next random numbers are the ones it would have drawn anyway."""
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    build_model(spec, seed=7)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_seeded_networks_from_elsewhere_repeat_too() -> None:
    """Torchvision's initialisation is seeded, whatever the caller's random state is."""
    torch.manual_seed(1)
    first = build_model("torchvision:resnet18", seed=5)
    torch.manual_seed(2)
    assert same_bits(first, build_model("torchvision:resnet18", seed=5))


@pytest.mark.parametrize("shortcut", ["none", "conv", "scale:0.5", "gate:exclusive,-6", "gate:shortcut,-6"])
def test_shortcut_variants_share_their_branches_weights(shortcut: str) -> None:
    """For one seed, variants differ on the shortcuts only, so they can be compared in pairs."""
    reference = build_model("preact20-bottleneck").state_dict()
    variant = build_model("preact20-bottleneck", shortcut=shortcut).state_dict()
    shared = [name for name in variant if not {"shortcut", "gate"} & set(name.split("."))]
    assert any("branch" in name for name in shared)
    assert all(torch.equal(variant[name], reference[name]) for name in shared)


def test_convolutions_follow_the_fan_out_rule() -> None:
    """Weights have mean 0 and variance 2 / (k_w k_h n_out), to the error of a sample of their size."""
    for name, module in build_model("preact20", width=32).named_modules():
        if isinstance(module, nn.Conv2d):
            variance = 2 / (module.out_channels * math.prod(module.kernel_size))
            count = module.weight.numel()
            assert abs(module.weight.mean().item()) < 5 * (variance / count) ** 0.5, name
            assert module.weight.var().item() == pytest.approx(variance, rel=5 * (2 / count) ** 0.5), name


def test_batch_normalisation_and_head_start_as_published() -> None:
    """BN starts at the identity with fresh statistics, the head's bias at 0, its weights within 1/√n."""
    model = build_model("preact20")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1)
            assert torch.all(module.bias == 0)
            assert torch.all(module.running_mean == 0)
            assert torch.all(module.running_var == 1)
            assert module.num_batches_tracked == 0
    assert torch.all(model.head.bias == 0)
    assert 0.9 / 8 < model.head.weight.abs().max() <= 1 / 8  # n_in = 64


@pytest.mark.parametrize("variant", ["gate:exclusive,-6", "gate:shortcut,-2.5"])
def test_gates_start_at_their_bias(variant: str) -> None:
    """Every unit's gate has the bias b_g that the option names."""
    model = build_model("resnet20", shortcut=variant)
    biases = [parameter for name, parameter in model.named_parameters() if name.endswith("gate.conv.bias")]
    assert len(biases) == 9
    assert all(torch.all(bias == float(variant.split(",")[1])) for bias in biases)


def test_input_shape_and_classes_set_the_ends_of_the_network() -> None:
    """Channels come in and classes go out as asked for, at any image size."""
    model = build_model("preact8", num_classes=7, width=4, input_shape=(1, 20, 12))
    assert model(torch.zeros(2, 1, 20, 12)).shape == (2, 7)
    assert model.spec.in_channels == 1


def test_the_representation_is_one_readable_line() -> None:
    """`repr` says what the network is, not a thousand layers."""
    text = repr(build_model("preact1001", shortcut="scale:0.5"))
    assert text == (
        "ResidualNetwork(preact1001: 3 stages of 111 bottleneck units, 64/128/256 channels, "
        "shortcut scale:0.5, activation full-preact, 10 classes, 10,327,706 parameters)"
    )


def test_channels_last_is_kept_through_the_network() -> None:
    """No module turns a channels-last batch into another layout (padding and pooling included)."""
    model = build_model("preact8").to(memory_format=torch.channels_last)
    converted: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def look(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.ndim == 4 and not output.is_contiguous(memory_format=torch.channels_last):
                converted.append(name)

        module.register_forward_hook(look)

    for name, module in model.named_modules():
        watch(name, module)
    model(torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last))
    assert converted == []


# Other sources -----------------------------------------------------------------------------------------


def test_torchvision_and_timm_networks_have_the_classes_asked_for() -> None:
    """Both libraries' networks are built untrained with `num_classes` outputs."""
    assert build_model("torchvision:resnet18", num_classes=5).fc.out_features == 5
    assert build_model("timm:resnet10t", num_classes=5, input_shape=(1, 64, 64)).conv1[0].in_channels == 1


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a module that lies in the current directory."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(tmp_path)
    name = f"own_networks_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(
        "import torch\n"
        "def network(num_classes): return torch.nn.Linear(3, num_classes)\n"
        "def without(): return torch.nn.Linear(3, 2)\n"
        "def forwarding(*args, **kwargs): assert not kwargs; return torch.nn.Identity()\n"
        "ready = torch.nn.Linear(1, 1)\n"
        "def wrong(): return 3\n"
        "def failing(): raise KeyError('no\\nweights')\n"
        "number = 3\n"
    )
    return name


def test_a_users_callable_gets_what_its_signature_names(own_module: str) -> None:
    """A function in the current directory is found and given num_classes if it takes it."""
    assert build_model(f"{own_module}:network", num_classes=6).out_features == 6
    assert build_model(f"{own_module}:without", num_classes=6).out_features == 2
    assert isinstance(build_model(f"{own_module}:forwarding"), nn.Identity)
    assert isinstance(build_model(f"{own_module}:ready"), nn.Linear)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("absent", r"has no 'absent'"),
        ("wrong", r"returned int; expected a torch.nn.Module"),
        ("failing", r"could not be built: KeyError: 'no\\nweights'"),
        ("number", r"is of type int; expected a callable"),
    ],
)
def test_what_a_users_callable_does_wrong_is_said(own_module: str, attribute: str, message: str) -> None:
    """Each way to fail is an UnknownModelError of one line."""
    with pytest.raises(UnknownModelError, match=message) as caught:
        build_model(f"{own_module}:{attribute}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnet19", r"torchvision has no model of this name; near it are .*resnet18"),
        ("timm:resnet19d", r"timm has no model of this name; near it are"),
        ("no_such_module:net", r"there is no module no_such_module"),
        ("what is this:net", r"expected package.module:callable"),
        ("torchvision:mask:net", r"no model of this name"),
    ],
)
def test_unknown_networks_are_refused_with_what_there_is(spec: str, message: str) -> None:
    """A specification that names nothing is an UnknownModelError that helps."""
    with pytest.raises(UnknownModelError, match=message):
        build_model(spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spec": "torchvision:resnet18", "shortcut": "none"}, r"options of the zoo's networks"),
        ({"spec": "preact20", "num_classes": 0}, r"num_classes is 0; expected at least 1"),
        ({"spec": "preact20", "width": 0}, r"width is 0"),
        ({"spec": "preact20", "input_shape": ()}, r"input_shape is empty"),
        ({"spec": "preact20", "seed": -1}, r"seed is -1"),
        ({"spec": "torchvision:resnet18", "num_classes": -3}, r"num_classes=-3"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    """Options that no network can have, or that this one does not take, are errors."""
    with pytest.raises(UnknownModelError, match=message):
        build_model(**options)


def test_the_zoo_imports_neither_torchvision_nor_timm() -> None:
    """A network of the zoo can be built where torchvision is broken."""
    code = (
        "import sys; from gradflow.models import build_model; build_model('preact8');"
        "print([name for name in ('torchvision', 'timm') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"


def test_zoo_networks_are_one_class() -> None:
    """All families are the same class with other options."""
    assert {type(build_model(name)) for name in ("preact8", "resnet8", "plain8")} == {ResidualNetwork}
