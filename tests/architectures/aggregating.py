"""Convolutional networks that add and concatenate in several ways."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import torchvision
from torch import nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock

from architectures.row import (
    INTO_A_VIEW,
    PYRAMID,
    TWO_BRANCHES,
    Architecture,
    Full,
    from_timm,
    images,
    seeding,
    timm_full,
)


def _pyramid() -> nn.Module:
    return BackboneWithFPN(
        torchvision.models.ResNet(BasicBlock, [2, 2, 2, 2], num_classes=10),
        {"layer3": "0", "layer4": "1"},
        [256, 512],
        8,
    )


def _faster_rcnn() -> nn.Module:
    model = torchvision.models.get_model("fasterrcnn_resnet50_fpn", weights=None, weights_backbone=None)
    return cast("nn.Module", model.backbone)


RESIDUAL = [
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
    Architecture(
        "PNASNet (max-pooled shortcuts)",
        "timm.models.pnasnet.CellBase",
        "three of a cell's five sums add a max-pooled x to two separable convolutions, in one cell behind a "
        "projection: 14 × 3; the others add two paths with a ReLU each",
        from_timm(
            lambda timm: nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), timm.models.pnasnet.CellStem0(8, 4, 8, 4, pad_type="same")
            )
        ),
        images(),
        {"projection>other": 1, "other>other": 1, "other": 1},
        timm_full("pnasnet5large", {"projection": 1, "other": 41}, side=331),
        passed_over=(TWO_BRANCHES,),
    ),
    Architecture(
        "Feature pyramid on a ResNet",
        "torchvision.models.detection.backbone_utils.BackboneWithFPN",
        "the backbone's units; a lateral 1×1 convolution of one resolution added to what comes back from a "
        "coarser one is none",
        seeding(_pyramid),
        images(),
        {"identity>relu": 5, "projection>relu": 3},
        Full(
            "torchvision:fasterrcnn_resnet50_fpn's backbone",
            _faster_rcnn,
            images(64),
            {"identity": 12, "projection": 4},
        ),
        passed_over=(PYRAMID,),
    ),
]
"""Rows of the table."""
