"""ResNets: post-activation, pre-activation, wide, grouped, squeezed, without normalisation."""

from __future__ import annotations

import torch
import torchvision
from torch import nn
from torchvision.models.regnet import BlockParams

from architectures.row import (
    ONE_SPLIT,
    Architecture,
    Full,
    from_timm,
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
        Full(
            "torchvision:r3d_18",
            lambda: torchvision.models.get_model("r3d_18", weights=None),
            lambda: torch.zeros(2, 3, 4, 32, 32),
            {"projection": 3, "identity": 5},
        ),
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
]
"""Rows of the table."""
