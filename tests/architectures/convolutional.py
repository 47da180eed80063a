"""Convolutional networks: post-activation, pre-activation, inverted, squeezed, aggregated."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import torch
import torchvision
from torch import nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams

from architectures.row import (
    INTO_A_VIEW,
    ONE_SPLIT,
    ONLY_SCALES,
    TWO_BRANCHES,
    Architecture,
    from_timm,
    from_transformers,
    images,
    seeding,
    timm_full,
    torchvision_full,
)

_resnet = torchvision.models.resnet
_STAGES = (
    "Σ layers blocks; the first of each of 4 stages projects (wider, and strided but for the first stage)"
)


def _regnet(se_ratio: float | None) -> nn.Module:
    params = BlockParams([1, 2], [16, 32], [8, 8], [1.0, 1.0], [2, 2], se_ratio)
    return torchvision.models.RegNet(params, num_classes=10, stem_width=8)


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
        "ResNet, basic blocks",
        "torchvision.models.resnet.BasicBlock",
        "Σ layers blocks; the first of stages 2 to 4 projects (strided and wider), that of stage 1 "
        "is as wide "
        "as the stem",
        seeding(lambda: torchvision.models.ResNet(_resnet.BasicBlock, [1, 1, 1, 2], num_classes=10)),
        images(),
        {"projection>relu": 3, "identity>relu": 2},
        torchvision_full("resnet34", {"projection": 3, "identity": 13}),
    ),
    Architecture(
        "ResNet, bottleneck",
        "torchvision.models.resnet.Bottleneck",
        _STAGES,
        seeding(
            lambda: torchvision.models.ResNet(
                _resnet.Bottleneck, [1, 2, 1, 1], num_classes=10, width_per_group=16
            )
        ),
        images(),
        {"projection>relu": 4, "identity>relu": 1},
        torchvision_full("resnet50", {"projection": 4, "identity": 12}),
    ),
    Architecture(
        "Wide ResNet",
        "torchvision.models.resnet.Bottleneck",
        _STAGES,
        seeding(
            lambda: torchvision.models.ResNet(
                _resnet.Bottleneck, [2, 1, 1, 1], num_classes=10, width_per_group=32
            )
        ),
        images(),
        {"projection>relu": 4, "identity>relu": 1},
        torchvision_full("wide_resnet50_2", {"projection": 4, "identity": 12}),
    ),
    Architecture(
        "ResNeXt",
        "torchvision.models.resnet.Bottleneck, groups",
        _STAGES,
        seeding(
            lambda: torchvision.models.ResNet(
                _resnet.Bottleneck, [1, 1, 2, 1], num_classes=10, groups=4, width_per_group=4
            )
        ),
        images(),
        {"projection>relu": 4, "identity>relu": 1},
        torchvision_full("resnext50_32x4d", {"projection": 4, "identity": 12}),
    ),
    Architecture(
        "3D ResNet (video)",
        "torchvision.models.video.resnet.BasicBlock",
        "as ResNet with basic blocks: 4 stages of 2, three of which begin with a projection",
        seeding(
            lambda: torchvision.models.video.VideoResNet(
                torchvision.models.video.resnet.BasicBlock,
                [torchvision.models.video.resnet.Conv3DNoTemporal] * 4,
                [1, 1, 1, 1],
                torchvision.models.video.resnet.BasicStem,
                num_classes=10,
            )
        ),
        lambda: torch.randn(2, 3, 2, 16, 16, generator=torch.Generator().manual_seed(1)),
        {"identity>relu": 1, "projection>relu": 3},
        None,
    ),
    Architecture(
        "ResNet-D",
        "timm.models.resnet.Bottleneck, downsample_avg",
        f"{_STAGES}: an average pool and a 1×1 convolution",
        from_timm(lambda timm: timm.create_model("resnet26d", num_classes=10, layers=(1, 1, 1, 2))),
        images(),
        {"projection>relu": 4, "identity>relu": 1},
        timm_full("resnet50d", {"projection": 4, "identity": 12}),
    ),
    Architecture(
        "SE-ResNet",
        "timm.models.resnet.BasicBlock, SEModule in the branch",
        "Σ layers blocks; the first of stages 2 to 4 projects",
        from_timm(lambda timm: timm.create_model("seresnet18", num_classes=10, layers=(1, 1, 1, 2))),
        images(),
        {"projection>relu": 3, "identity>relu": 2},
        timm_full("seresnet50", {"projection": 4, "identity": 12}),
    ),
    Architecture(
        "ECA-ResNet",
        "timm.models.resnet.Bottleneck, EcaModule in the branch",
        _STAGES,
        from_timm(lambda timm: timm.create_model("ecaresnet26t", num_classes=10, layers=(1, 1, 1, 2))),
        images(),
        {"projection>relu": 4, "identity>relu": 1},
        timm_full("ecaresnet26t", {"projection": 4, "identity": 4}),
    ),
    Architecture(
        "SK-ResNet",
        "timm.models.sknet.SelectiveKernelBasic",
        "Σ layers blocks; the first of stages 2 to 4 projects; the kernels' outputs are stacked, not added",
        from_timm(lambda timm: timm.create_model("skresnet18", num_classes=10, layers=(1, 1, 1, 2))),
        images(),
        {"projection>relu": 3, "identity>relu": 2},
        timm_full("skresnet18", {"projection": 3, "identity": 5}),
    ),
    Architecture(
        "Res2Net",
        "timm.models.res2net.Bottle2neck",
        f"{_STAGES}; inside the branch, slices of the channels are added to one another",
        from_timm(lambda timm: timm.create_model("res2net50_26w_4s", num_classes=10, layers=(1, 2, 1, 1))),
        images(),
        {"projection>relu": 4, "identity>relu": 1},
        timm_full("res2net50_26w_4s", {"projection": 4, "identity": 12}),
        passed_over=(ONE_SPLIT,),
    ),
    Architecture(
        "ResNet v2 (pre-activation)",
        "timm.models.resnetv2.PreActBottleneck",
        "Σ layers blocks; the first of each of 4 stages projects the activated signal",
        from_timm(
            lambda timm: timm.create_model(
                "resnetv2_50", num_classes=10, layers=(1, 2, 1, 1), channels=(32, 64, 96, 128), stem_chs=16
            )
        ),
        images(),
        {"projection>batch_norm+relu": 3, "projection": 1, "identity>batch_norm+relu": 1},
        timm_full("resnetv2_50", {"projection": 4, "identity": 12}),
    ),
    Architecture(
        "NF-ResNet, NFNet",
        "timm.models.nfnet.NormFreeBlock",
        "Σ depths blocks; the first of each of 4 stages projects the activated and scaled signal",
        from_timm(
            lambda timm: timm.models.nfnet.NormFreeNet(
                timm.models.nfnet.NfCfg(
                    depths=(1, 2, 1, 1), channels=(16, 32, 48, 64), stem_type="3x3", stem_chs=16
                ),
                num_classes=10,
            )
        ),
        images(),
        {"projection>silu+mul": 2, "projection": 2, "identity>silu+mul": 1},
        timm_full("eca_nfnet_l0", {"projection": 4, "identity": 8}),
    ),
    Architecture(
        "RegNet-X",
        "torchvision.models.regnet.ResBottleneckBlock",
        "Σ depths blocks; the first of each stage projects (strided)",
        seeding(lambda: _regnet(None)),
        images(),
        {"projection>relu": 2, "identity>relu": 1},
        torchvision_full("regnet_x_400mf", on="cpu", units={"projection": 4, "identity": 18}),
    ),
    Architecture(
        "RegNet-Y (squeeze-excite)",
        "torchvision.models.regnet.ResBottleneckBlock",
        "as RegNet-X, with squeeze-excite in the branch",
        seeding(lambda: _regnet(0.25)),
        images(),
        {"projection>relu": 2, "identity>relu": 1},
        torchvision_full("regnet_y_400mf", on="cpu", units={"projection": 4, "identity": 12}),
    ),
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
    Architecture(
        "RepVGG (in training)",
        "timm.models.byobnet.RepVggBlock",
        "each block adds a 1×1 to a 3×3 convolution, a unit with a projection; where width and size "
        "stay, the "
        "batch-normalised x is added to their sum, a second unit around the first; A0: stem + Σ (2, "
        "4, 14, 1) "
        "blocks, 5 of which change width or size",
        from_timm(
            lambda timm: timm.models.byobnet.ByobNet(
                timm.models.byobnet.ByoModelCfg(
                    blocks=(
                        timm.models.byobnet.ByoBlockCfg(type="rep", d=2, c=16, s=2, gs=0),
                        timm.models.byobnet.ByoBlockCfg(type="rep", d=1, c=32, s=2, gs=0),
                    ),
                    stem_type="rep",
                    stem_chs=8,
                ),
                num_classes=10,
            )
        ),
        images(),
        {"projection>relu": 3, "projection>other": 1, "other>relu": 1},
        timm_full("repvgg_a0", {"projection": 22, "other": 17}),
    ),
    Architecture(
        "DLA",
        "timm.models.dla.DlaBasic, DlaTree",
        "two blocks a tree of one level; the first one's shortcut is projected where the tree widens; dla34: "
        "(1 + 2 + 2 + 1) such trees, of which the first of each level widens",
        from_timm(
            lambda timm: timm.models.dla.DLA(
                levels=(1, 1, 1, 1, 1, 1),
                channels=(4, 8, 16, 24, 32, 40),
                block=timm.models.dla.DlaBasic,
                num_classes=10,
            )
        ),
        images(),
        {"projection>relu": 4, "identity>other": 3, "identity>relu": 1},
        timm_full("dla34", {"projection": 4, "identity": 8}),
    ),
    Architecture(
        "HRNet",
        "timm.models.hrnet.BasicBlock, HighResolutionModule",
        "blocks × branches of each module, and bottlenecks with projection in the first stage and the head; "
        "w18_small: 1 + (4 + 6 + 8) + 4. The sums that exchange resolutions have no shortcut",
        from_timm(
            lambda timm: timm.models.hrnet.HighResolutionNet(
                {
                    "stem_width": 8,
                    **{
                        f"stage{stage}": {
                            "num_modules": 1,
                            "num_branches": stage,
                            "block_type": "BOTTLENECK" if stage == 1 else "BASIC",
                            "num_blocks": (1,) * stage,
                            "num_channels": tuple(8 * 2**branch for branch in range(stage)),
                            "fuse_method": "SUM",
                        }
                        for stage in range(1, 5)
                    },
                },
                num_classes=10,
            )
        ),
        images(),
        {"projection>other": 4, "projection": 1, "identity>other": 9},
        timm_full("hrnet_w18_small", {"projection": 5, "identity": 18}),
        passed_over=(TWO_BRANCHES,),
    ),
    Architecture(
        "VoVNet (ESE)",
        "timm.models.vovnet.OsaBlock",
        "every block but the first of its stage adds its input to the concatenated and squeezed layers",
        from_timm(
            lambda timm: timm.models.vovnet.VovNet(
                {
                    "stem_chs": [8, 8, 8],
                    "stage_conv_chs": [8, 8, 8, 8],
                    "stage_out_chs": [16, 16, 16, 16],
                    "layer_per_block": 2,
                    "block_per_stage": [1, 1, 2, 2],
                    "residual": True,
                    "depthwise": False,
                    "attn": "ese",
                },
                num_classes=10,
            )
        ),
        images(),
        {"identity>other": 1, "identity": 1},
        timm_full("ese_vovnet39b", {"identity": 2}),
    ),
    Architecture(
        "Aligned Xception",
        "timm.models.xception_aligned.XceptionModule",
        "one unit a block with a skip, a projection where it widens; 41: 4 projections, 8 in the "
        "middle flow; "
        "the last block has no skip",
        from_timm(
            lambda timm: timm.models.xception_aligned.XceptionAligned(
                [
                    {"in_chs": 64, "out_chs": 16, "stride": 2},
                    {"in_chs": 16, "out_chs": 16, "stride": 1},
                    {"in_chs": 16, "out_chs": 16, "stride": 1, "no_skip": True, "start_with_relu": False},
                ],
                num_classes=10,
            )
        ),
        images(),
        {"projection": 1, "identity": 1},
        timm_full("xception41", {"projection": 4, "identity": 8}),
    ),
    Architecture(
        "CSP-ResNet",
        "timm.models.cspnet.CrossStage, BottleneckBlock",
        "Σ depth blocks, each on one half of the channels; the halves are concatenated",
        from_timm(
            lambda timm: timm.models.cspnet.CspNet(
                timm.models.cspnet.CspModelCfg(
                    stem=timm.models.cspnet.CspStemCfg(out_chs=8, kernel_size=3, stride=2),
                    stages=timm.models.cspnet.CspStagesCfg(
                        depth=(1, 2), out_chs=(16, 32), stride=(1, 2), expand_ratio=2.0, bottle_ratio=0.5
                    ),
                ),
                num_classes=10,
            )
        ),
        images(),
        {"identity>leaky_relu": 2, "identity>other": 1},
        timm_full("cspresnet50", {"identity": 13}),
    ),
    Architecture(
        "DarkNet-53",
        "timm.models.cspnet.DarkStage, DarkBlock",
        "1 + 2 + 8 + 8 + 4 blocks; a strided convolution, BN and leaky ReLU between stages",
        from_timm(
            lambda timm: timm.models.cspnet.CspNet(
                timm.models.cspnet.CspModelCfg(
                    stem=timm.models.cspnet.CspStemCfg(out_chs=8, kernel_size=3, stride=1),
                    stages=timm.models.cspnet.CspStagesCfg(
                        depth=(1, 2), out_chs=(16, 32), bottle_ratio=0.5, stage_type="dark", block_type="dark"
                    ),
                ),
                num_classes=10,
            )
        ),
        images(),
        {"identity>convolution+batch_norm+leaky_relu": 1, "identity": 2},
        timm_full("darknet53", {"identity": 23}),
    ),
    Architecture(
        "Inception-ResNet v2",
        "timm.models.inception_resnet_v2.Block35, Block17, Block8",
        "10 + 20 + 10 blocks that add a scaled branch, all but the last with a ReLU behind",
        from_timm(
            lambda _: nn.Sequential(
                nn.Conv2d(3, 320, 1),
                *(import_module("timm.models.inception_resnet_v2").Block35(scale=0.17) for _ in range(2)),
            )
        ),
        images(8),
        {"identity>relu": 2},
        timm_full("inception_resnet_v2", {"identity": 40}, side=299),
    ),
    Architecture(
        "DPN (dual path)",
        "timm.models.dpn.DualPathBlock",
        "one unit a block, whose shortcut is a slice of the channels, since the dense path is carried in the "
        "same tensor; 68: 3 + 4 + 12 + 3 blocks, the first of each stage apart",
        from_timm(
            lambda timm: timm.models.dpn.DPN(
                k_sec=(2, 1, 1, 1),
                inc_sec=(4, 4, 4, 4),
                k_r=16,
                groups=4,
                num_init_features=8,
                num_classes=10,
            )
        ),
        images(),
        {"other": 1},
        timm_full("dpn68", {"other": 18}),
        passed_over=(TWO_BRANCHES,),
        unsupported="the projecting block of each stage: BN and ReLU stand in front of its projection, which "
        "makes two branches of it",
    ),
    Architecture(
        "GhostNet",
        "timm.models.ghostnet.GhostBottleneck",
        "one addition a bottleneck",
        from_timm(lambda timm: timm.create_model("ghostnet_050", num_classes=10)),
        images(),
        {},
        None,
        passed_over=(INTO_A_VIEW,),
        unsupported="all: the ghost module returns a view (a slice of a concatenation), into which the "
        "shortcut is added in place",
    ),
]
"""Networks with units."""
