"""Networks whose parallel paths are made one convolution after training."""

from __future__ import annotations

from functools import partial
from typing import Any

from architectures.row import (
    EQUALLY_LONG,
    ONE_LINEAR_MAP,
    THIRD_OPERAND,
    Architecture,
    from_timm,
    images,
    timm_full,
)


def _mobile_one(byobnet: Any) -> Any:
    """Return two stages of a depthwise and a pointwise block, of which the second widens."""
    block = partial(byobnet.ByoBlockCfg, type="one", d=1)
    each, pointwise = {"num_conv_branches": 2}, {"num_conv_branches": 2, "kernel_size": 1}
    return byobnet.ByoModelCfg(
        blocks=(
            (block(c=8, s=2, gs=1, block_kwargs=each), block(c=8, s=1, gs=0, block_kwargs=pointwise)),
            (block(c=8, s=1, gs=1, block_kwargs=each), block(c=16, s=1, gs=0, block_kwargs=pointwise)),
        ),
        stem_type="one",
        stem_chs=8,
    )


RESIDUAL = [
    Architecture(
        "RepVGG (in training)",
        "timm.models.byobnet.RepVggBlock",
        "where width and size stay, x, batch-normalised, is added to the sum of a 1×1 and a 3×3 convolution; "
        "that sum itself is one linear map, and a block without x has no unit; A0: stem + Σ (2, 4, 14, 1) "
        "blocks, 5 of which change width or size",
        from_timm(
            lambda timm: timm.models.byobnet.ByobNet(
                timm.models.byobnet.ByoModelCfg(
                    blocks=(
                        timm.models.byobnet.ByoBlockCfg(type="rep", d=3, c=16, s=2, gs=0),
                        timm.models.byobnet.ByoBlockCfg(type="rep", d=1, c=32, s=2, gs=0),
                    ),
                    stem_type="rep",
                    stem_chs=8,
                ),
                num_classes=10,
            )
        ),
        images(),
        {"other>relu": 2},
        timm_full("repvgg_a0", {"other": 17}),
        passed_over=(ONE_LINEAR_MAP,),
    ),
    Architecture(
        "MobileOne (in training)",
        "timm.models.byobnet.MobileOneBlock",
        "where width and size stay, x, batch-normalised, is added to the sum of convolutions, which is one "
        "linear map; S0: a depthwise and a pointwise block for each of 2 + 8 + 10 + 1 layers, of which the "
        "depthwise ones of 4 layers are strided and the pointwise ones of 3 widen",
        from_timm(lambda timm: timm.models.byobnet.ByobNet(_mobile_one(timm.models.byobnet), num_classes=10)),
        images(),
        {"other>relu": 2},
        timm_full("mobileone_s0", {"other": 35}),
        passed_over=(ONE_LINEAR_MAP, EQUALLY_LONG),
    ),
    Architecture(
        "GhostNetV3 (in training)",
        "timm.models.ghostnet.GhostModuleV3, GhostBottleneckV3",
        "one unit a bottleneck, a projection where width or size change, and one in each of its two ghost "
        "modules, whose cheap operation adds a 1×1 convolution to the batch-normalised x: 16 × (1 + 2), of "
        "which 5 project",
        from_timm(
            lambda timm: timm.models.ghostnet.GhostNet(
                [[[3, 16, 16, 0, 1]], [[3, 32, 24, 0, 2]], [[3, 48, 24, 0.25, 1]]],
                num_classes=10,
                width=0.5,
                version="v3",
            )
        ),
        images(),
        {"other>other": 6, "identity>other": 1, "projection>other": 1, "identity": 1},
        timm_full("ghostnetv3_100", {"other": 32, "identity": 11, "projection": 5}),
        passed_over=(ONE_LINEAR_MAP, EQUALLY_LONG, THIRD_OPERAND),
        unsupported="the cheap operation's other convolutions, which are third operands",
    ),
]
"""Rows of the table."""
