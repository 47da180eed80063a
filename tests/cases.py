"""The one table of models that tests run on: how to build each, what to feed it, what its units are.

A unit is written ``h`` or ``h>f``: its shortcut, and what follows the addition where that is not
the identity. Weights and inputs are the same on every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from gradflow import build_model
from gradflow.determinism import seeded
from gradflow.units import Inputs

Stage = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One model of the table.

    Attributes:
        name: what the test's id says.
        build: makes the model, in training mode, in float32.
        inputs: makes what the model is called with.
        stages: for each stage its units, in order of execution.
        classes: outputs of the model; a token model's vocabulary.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    stages: tuple[Stage, ...]
    classes: int = 10

    @property
    def kinds(self) -> list[tuple[int, str, str]]:
        """Each unit's stage, shortcut and post-activation."""
        return [
            (stage, *(unit.split(">") if ">" in unit else (unit, "identity")))
            for stage, units in enumerate(self.stages)
            for unit in units
        ]

    def targets(self) -> Tensor:
        """Return class indices for the batch; for a token model one for each token."""
        inputs = self.inputs()
        shape = inputs["input_ids"].shape if isinstance(inputs, Mapping) else inputs.shape[:1]
        return torch.randint(0, self.classes, shape, generator=torch.Generator().manual_seed(2))


def images(*shape: int) -> Callable[[], Tensor]:
    """Return a maker of images of noise of `shape`."""
    return lambda: torch.randn(shape, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class ZooStages:
    """What the units of a zoo network of two units a stage are.

    Attributes:
        first: shortcut of the network's first unit.
        transition: shortcut of the first unit of the second and third stage.
        inner: shortcut of every other unit.
        f: what follows every addition; between stages it may be something else.
        between: what follows the last addition of the first and second stage.
    """

    first: str
    transition: str
    inner: str
    f: str = "identity"
    between: str = ""

    def stages(self) -> tuple[Stage, ...]:
        """Return the table's notation."""
        inside, end = f">{self.f}", f">{self.between or self.f}"
        return (
            (f"{self.first}{inside}", f"{self.inner}{end}"),
            (f"{self.transition}{inside}", f"{self.inner}{end}"),
            (f"{self.transition}{inside}", f"{self.inner}{inside}"),
        )


_ZOO_UNITS = {"single": 8, "basic": 14, "bottleneck": 20}
"""Depth of the network of two units a stage, for each kind of unit."""

_SHORTCUTS = {
    "identity": "identity",
    "scale:0.5": "scaled",
    "scale:0.5,0.5": "scaled",
    "gate:exclusive,-1": "gated",
    "gate:shortcut,-1": "gated",
    "conv": "projection",
    "dropout:0.5": "dropout",
    "dropout:0.5,unscaled": "dropout",
}
"""What each shortcut variant is called in the record."""

_ACTIVATIONS = {
    "original": ("relu", "relu"),
    "bn-after": ("batch_norm+relu", "batch_norm+relu"),
    "relu-before": ("identity", "identity"),
    "relu-only": ("identity", "relu"),
    "full-preact": ("identity", "batch_norm+relu"),
}
"""f inside a stage and at its end. A pre-activation stage forks at the activated signal."""


def _zoo_case(unit: str, shortcut: str = "identity", activation: str = "original") -> Case:
    depth = _ZOO_UNITS[unit]
    name = f"resnet{depth}-{unit}"
    inner = _SHORTCUTS[shortcut]
    reshaped = "projection" if unit == "bottleneck" or shortcut == "conv" else "padding"
    f, between = _ACTIVATIONS[activation]
    expected = ZooStages(
        first="projection" if unit == "bottleneck" else inner,
        transition=reshaped,
        inner=inner,
        f=f,
        between=between,
    )
    return Case(
        name=" ".join(word for word in (name, shortcut, activation) if word not in {"identity", "original"}),
        build=lambda: build_model(name, shortcut=shortcut, activation=activation, width=4),
        inputs=images(2, 3, 8, 8),
        stages=expected.stages(),
    )


ZOO_VARIANTS = [
    _zoo_case(unit, shortcut, activation)
    for activation in _ACTIVATIONS
    for unit in _ZOO_UNITS
    for shortcut in (_SHORTCUTS if activation in {"original", "full-preact"} else ["identity"])
]
"""Every kind of unit with every shortcut, post- and pre-activation, and with every activation."""

_PREACT = ((*["identity"] * 2, "identity>batch_norm+relu"),)
_PAD = ("padding", "identity", "identity>batch_norm+relu")
_PROJECT = ("projection", "identity", "identity>batch_norm+relu")

ZOO = [
    Case(
        "preact20",
        lambda: build_model("preact20", width=4),
        images(3, 3, 8, 8),
        (*_PREACT, _PAD, ("padding", "identity", "identity")),
    ),
    Case(
        "preact29-bottleneck",
        lambda: build_model("preact29-bottleneck", width=4),
        images(3, 3, 8, 8),
        (_PROJECT, _PROJECT, ("projection", "identity", "identity")),
    ),
    Case(
        "resnet20",
        lambda: build_model("resnet20", width=4),
        images(3, 3, 8, 8),
        (("identity>relu",) * 3, *[("padding>relu", *["identity>relu"] * 2)] * 2),
    ),
    Case(
        "resnet29-bottleneck",
        lambda: build_model("resnet29-bottleneck", width=4),
        images(3, 3, 8, 8),
        (("projection>relu", *["identity>relu"] * 2),) * 3,
    ),
]
"""The papers' four kinds of network, three units a stage."""


def _torchvision_case(name: str, stages: tuple[Stage, ...], side: int = 32, **options: Any) -> Case:
    def build() -> nn.Module:
        with seeded(0):
            return torchvision.models.get_model(name, weights=None, num_classes=10, **options)

    return Case(name, build, images(2, 3, side, side), stages)


def _bottlenecks(*counts: int) -> tuple[Stage, ...]:
    return tuple(("projection>relu", *["identity>relu"] * (count - 1)) for count in counts)


def _identities(counts: tuple[int, ...], between: str) -> tuple[Stage, ...]:
    inner = [(*["identity"] * (count - 1), f"identity>{between}") for count in counts[:-1]]
    return (*inner, ("identity",) * counts[-1])


RESNET18 = _torchvision_case(
    "resnet18", (("identity>relu",) * 2, *[("projection>relu", "identity>relu")] * 3)
)

TORCHVISION = [
    RESNET18,
    _torchvision_case("resnet50", _bottlenecks(3, 4, 6, 3)),
    _torchvision_case("wide_resnet50_2", _bottlenecks(3, 4, 6, 3)),
    _torchvision_case("resnext50_32x4d", _bottlenecks(3, 4, 6, 3)),
    _torchvision_case("convnext_tiny", _identities((3, 3, 9, 3), "layer_norm+convolution")),
    # Patch merging concatenates, normalises and projects: too much to have a name.
    _torchvision_case("swin_t", _identities((4, 4, 12, 4), "other")),
    _torchvision_case("vit_b_16", (("identity",) * 24,), image_size=32),
]
"""Networks with in-place additions, in-place ReLUs, layer scales, window and plain attention."""


def _gpt2() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=8, bos_token_id=0, eos_token_id=0
    )
    with seeded(0):
        return transformers.GPT2LMHeadModel(config)


def _tokens() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(0, 40, (3, 8), generator=torch.Generator().manual_seed(1))}


GPT2 = Case("gpt2", _gpt2, _tokens, (("identity",) * 4,), classes=40)


@dataclass(frozen=True)
class Counted:
    """A network of which only the number of units is written down.

    Attributes:
        name: what the test's id says.
        build: makes the model, in training mode, in float32.
        inputs: makes what the model is called with.
        units: how many residual units there are.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    units: int


def _timm_case(name: str, units: int, **options: Any) -> Counted:
    def build() -> nn.Module:
        timm = pytest.importorskip("timm")
        with seeded(0):
            return timm.create_model(name, pretrained=False, num_classes=10, **options)

    return Counted(name, build, images(2, 3, 64, 64), units)


def _bert() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        num_hidden_layers=2, num_attention_heads=2, hidden_size=16, intermediate_size=32, vocab_size=40
    )
    with seeded(0):
        return transformers.BertForSequenceClassification(config)


def _llama() -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size=16,
        intermediate_size=32,
        vocab_size=40,
    )
    with seeded(0):
        return transformers.LlamaForCausalLM(config)


COUNTED = [
    _timm_case("regnetx_002", 13),
    _timm_case("mobilenetv2_050", 10),
    _timm_case("efficientnet_b0", 9),
    _timm_case("resnetv2_50", 16),
    _timm_case("seresnet18", 8),
    _timm_case("mixer_s32_224", 16, img_size=64),
    _timm_case("deit_tiny_patch16_224", 24, img_size=64),
    # Tokens become images and tokens again inside a stage: the layout changes from unit to unit.
    _timm_case("twins_svt_small", 40),
    Counted("bert", _bert, _tokens, 4),
    Counted("llama", _llama, _tokens, 4),
]
"""Networks from elsewhere: strided, inverted, squeezed, mixing and attending units."""

ALL = [*ZOO_VARIANTS, *ZOO, *TORCHVISION, GPT2]

SMALL = [*ZOO_VARIANTS, *ZOO, RESNET18, GPT2]
"""Those on which the oracle, whose time grows with the square of the depth, takes a moment."""


def each(table: Sequence[Case | Counted]) -> pytest.MarkDecorator:
    """Run a test once for each model of `table`, as its argument `case`."""
    return pytest.mark.parametrize("case", table, ids=lambda case: case.name)
