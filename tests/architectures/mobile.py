"""Networks of inverted and depthwise units, ConvNeXt among them."""

from __future__ import annotations

from functools import partial

import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig

from architectures.row import (
    ONLY_SCALES,
    Architecture,
    from_timm,
    from_transformers,
    images,
    seeding,
    timm_full,
    torchvision_full,
)


def _mobile_v3() -> nn.Module:
    setting = partial(InvertedResidualConfig, dilation=1, width_mult=1.0)
    return torchvision.models.MobileNetV3(
        [
            setting(16, 3, 16, 16, use_se=True, activation="RE", stride=1),
            setting(16, 3, 32, 24, use_se=False, activation="RE", stride=2),
            setting(24, 3, 48, 24, use_se=True, activation="HS", stride=1),
        ],
        last_channel=32,
        num_classes=10,
    )


RESIDUAL = [
    Architecture(
        "MobileNetV2",
        "torchvision.models.mobilenetv2.InvertedResidual",
        "a block adds where its stride is 1 and its width stays (use_res_connect): n − 1 of each stage's n, "
        "so 0 + 1 + 2 + 3 + 2 + 2 + 0",
        seeding(
            lambda: torchvision.models.MobileNetV2(
                10,
                inverted_residual_setting=[[1, 16, 1, 1], [2, 24, 2, 2], [2, 32, 3, 2]],
                width_mult=0.5,
            )
        ),
        images(),
        {"identity": 2, "identity>other": 1},
        torchvision_full("mobilenet_v2", {"identity": 10}),
    ),
    Architecture(
        "MobileNetV3",
        "torchvision.models.mobilenetv3.InvertedResidual",
        "a block adds where its stride is 1 and its width stays; large: blocks 1, 3, 5, 6, 8 to 10, "
        "12, 14, 15",
        seeding(_mobile_v3),
        images(),
        {"identity>other": 1, "identity": 1},
        torchvision_full("mobilenet_v3_large", {"identity": 10}),
    ),
    Architecture(
        "MNASNet",
        "torchvision.models.mnasnet._InvertedResidual",
        "n − 1 of each stage's n blocks add (apply_residual): 2 + 2 + 2 + 1 + 3 + 0",
        seeding(lambda: torchvision.models.MNASNet(0.1, num_classes=10)),
        images(),
        {"identity": 6, "identity>other": 4},
        torchvision_full("mnasnet0_5", {"identity": 10}),
    ),
    Architecture(
        "EfficientNet (squeeze-excite, stochastic depth)",
        "torchvision.models.efficientnet.MBConv",
        "a block adds where its stride is 1 and its width stays: n − 1 of each stage's n, "
        "so 0 + 1 + 1 + 2 + 2 + 3 + 0",
        seeding(
            lambda: torchvision.models.EfficientNet(
                [MBConvConfig(1, 3, 1, 8, 8, 2), MBConvConfig(2, 3, 2, 8, 16, 2)],
                dropout=0.2,
                num_classes=10,
                last_channel=32,
            )
        ),
        images(),
        {"identity": 2, "identity>other": 1},
        torchvision_full("efficientnet_b0", {"identity": 9}),
    ),
    Architecture(
        "EfficientNetV2 (fused MBConv)",
        "torchvision.models.efficientnet.FusedMBConv",
        "as EfficientNet; small: 2 + 3 + 3 + 5 + 8 + 14",
        seeding(
            lambda: torchvision.models.EfficientNet(
                [FusedMBConvConfig(1, 3, 1, 8, 8, 2), FusedMBConvConfig(2, 3, 2, 8, 16, 2)],
                dropout=0.2,
                num_classes=10,
                last_channel=32,
            )
        ),
        images(),
        {"identity": 2, "identity>other": 1},
        torchvision_full("efficientnet_v2_s", {"identity": 35}),
    ),
    Architecture(
        "ConvNeXt (LayerScale)",
        "torchvision.models.convnext.CNBlock",
        "Σ depths blocks, each with a LayerScale at the branch's end; LN and a convolution between stages",
        seeding(
            lambda: torchvision.models.ConvNeXt(
                [CNBlockConfig(16, 32, 2), CNBlockConfig(32, None, 2)],
                stochastic_depth_prob=0.1,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 3, "identity>layer_norm+convolution": 1},
        torchvision_full("convnext_tiny", {"identity": 18}),
    ),
    Architecture(
        "ConvNeXt V2",
        "transformers ConvNextV2Layer",
        "Σ depths blocks; the global response normalisation in each branch, x + γ x̂ + β, is no unit",
        from_transformers(
            lambda transformers: transformers.ConvNextV2Model(
                transformers.ConvNextV2Config(depths=[1, 2], hidden_sizes=[8, 16], num_stages=2)
            )
        ),
        images(),
        {"identity": 2, "identity>layer_norm+convolution": 1},
        timm_full("convnextv2_atto", {"identity": 12}),
        passed_over=(ONLY_SCALES,),
    ),
    Architecture(
        "ConvMixer",
        "timm.models.convmixer.Residual",
        "one unit a block of `depth`; a 1×1 convolution, GELU and BN follow each",
        from_timm(
            lambda timm: timm.models.convmixer.ConvMixer(
                dim=8, depth=3, kernel_size=3, patch_size=4, num_classes=10
            )
        ),
        images(),
        {"identity>convolution+gelu+batch_norm": 3},
        timm_full("convmixer_768_32", {"identity": 32}),
    ),
]
"""Rows of the table."""
