"""Several streams, and networks that only look residual."""

from __future__ import annotations

from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.googlenet import Inception

from architectures.row import (
    A_CONSTANT,
    A_GATE,
    A_PRODUCT,
    A_SAMPLE,
    COUPLED,
    NO_ORIGIN,
    NO_PARAMETERS,
    NO_WAY,
    ONE_LINEAR_MAP,
    ONE_SPLIT,
    ONLY_SCALES,
    RECURRENCE,
    TWO_BRANCHES,
    Architecture,
    from_timm,
    images,
    seeding,
    timm_full,
    tokens,
    torchvision_full,
)
from architectures.written_here import (
    WIDTH,
    DeepNetResponse,
    Heads,
    HyperConnected,
    PlainTransformerInput,
    Recurrent,
    RevNet,
    UNet,
)


def _rows() -> Tensor:
    return torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))


def _sequence() -> Tensor:
    return torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(1))


STREAMS = [
    Architecture(
        "Hyper-connections",
        "tests/architectures/written_here.py",
        "one unit a layer: the streams are mixed, which is a projection, and the layer's output is "
        "written to each",
        seeding(HyperConnected),
        _rows,
        {"projection": 3},
    ),
    Architecture(
        "RevNet",
        "tests/architectures/written_here.py",
        "two couplings a block, each between two streams",
        seeding(RevNet),
        _rows,
        {},
        passed_over=(ONE_SPLIT, COUPLED),
        unsupported="all: what one stream's branch reads was made of the other, so that no tensor is x_l",
    ),
]
"""More than one residual stream."""

LOOKALIKES = [
    Architecture(
        "VGG",
        "torchvision.models.vgg",
        "a chain",
        seeding(lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))),
        images(),
        {},
        torchvision_full("vgg11", {}),
    ),
    Architecture(
        "DenseNet",
        "torchvision.models.densenet._DenseLayer",
        "concatenates what it keeps",
        seeding(
            lambda: torchvision.models.DenseNet(
                growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=10
            )
        ),
        images(),
        {},
        torchvision_full("densenet121", {}),
    ),
    Architecture(
        "GoogLeNet, Inception",
        "torchvision.models.googlenet.Inception",
        "concatenates its branches",
        seeding(lambda: Inception(3, 4, 4, 4, 4, 4, 4)),
        images(),
        {},
        timm_full("inception_v4", {}, side=299),
    ),
    Architecture(
        "SqueezeNet",
        "torchvision.models.squeezenet.Fire",
        "concatenates two expansions",
        seeding(lambda: torchvision.models.squeezenet.Fire(3, 4, 4, 4)),
        images(),
        {},
        torchvision_full("squeezenet1_1", {}),
    ),
    Architecture(
        "ShuffleNetV2",
        "torchvision.models.shufflenetv2.InvertedResidual",
        "its halves are concatenated and shuffled, never added, though the block is called residual",
        seeding(lambda: torchvision.models.ShuffleNetV2([1, 2, 1], [8, 8, 16, 16, 32], num_classes=10)),
        images(64),
        {},
        torchvision_full("shufflenet_v2_x0_5", {}),
    ),
    Architecture(
        "VoVNet without residuals",
        "timm.models.vovnet.OsaBlock",
        "residual=False: the layers are concatenated",
        from_timm(
            lambda timm: timm.models.vovnet.VovNet(
                {
                    "stem_chs": [8, 8, 8],
                    "stage_conv_chs": [8] * 4,
                    "stage_out_chs": [16] * 4,
                    "layer_per_block": 2,
                    "block_per_stage": [1, 1, 1, 2],
                    "residual": False,
                    "depthwise": False,
                    "attn": "",
                },
                num_classes=10,
            )
        ),
        images(),
        {},
        timm_full("ese_vovnet19b_dw", {}),
    ),
    Architecture(
        "U-Net",
        "tests/architectures/written_here.py",
        "its skips are concatenated",
        seeding(UNet),
        images(8),
        {},
    ),
    Architecture(
        "Embeddings of positions, GELU written out",
        "tests/architectures/written_here.py",
        "positions and tokens have no common origin; GELU's inner terms no parameters",
        seeding(PlainTransformerInput),
        tokens("input_ids"),
        {},
        passed_over=(NO_ORIGIN, NO_PARAMETERS),
    ),
    Architecture(
        "Global response normalisation",
        "tests/architectures/written_here.py",
        "x + γ x̂ + β scales and shifts x",
        seeding(DeepNetResponse),
        images(8),
        {},
        passed_over=(ONLY_SCALES,),
    ),
    *(
        Architecture(
            name,
            "tests/architectures/written_here.py",
            how,
            seeding(partial(Heads, kind)),
            _rows,
            {},
            passed_over=(reason,),
        )
        for name, kind, how, reason in (
            ("VAE, reparametrised sample", "vae", "μ + σ ε of two heads, one of them positive", A_SAMPLE),
            (
                "Dueling heads",
                "dueling",
                "a value and an advantage, both linear in one tensor",
                ONE_LINEAR_MAP,
            ),
            (
                "FiLM of a tensor by itself",
                "film",
                "γ(z) z + β(z) has a product in the one, an MLP in the other",
                A_PRODUCT,
            ),
        )
    ),
    *(
        Architecture(
            name,
            "tests/architectures/written_here.py",
            how,
            seeding(partial(Recurrent, kind)),
            _sequence,
            {},
            passed_over=reasons,
        )
        for name, kind, how, reasons in (
            (
                "Recurrence h + Δ",
                "delta",
                "h is a state over time, made with the same weights, and Δ reads another input at each step",
                (A_CONSTANT, NO_ORIGIN, TWO_BRANCHES, RECURRENCE),
            ),
            ("Elman RNN, unrolled", "rnn", "the sum of two projections", (NO_ORIGIN, TWO_BRANCHES)),
            (
                "GRU, unrolled",
                "gru",
                "(1 − z) n + z h, where z and n read x_t and h",
                (NO_ORIGIN, TWO_BRANCHES, A_GATE, NO_WAY),
            ),
            (
                "GRU as an interpolation",
                "interpolating",
                "h + z (n − h)",
                (A_CONSTANT, NO_ORIGIN, TWO_BRANCHES, RECURRENCE),
            ),
            ("LSTM, unrolled", "lstm", "f c + i g, whose gates are parts of one projection", (ONE_SPLIT,)),
        )
    ),
]
"""Networks without units."""
