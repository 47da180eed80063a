"""Attention in the place of convolutions, and vision transformers that pool."""

from __future__ import annotations

from functools import partial
from typing import Any

from architectures.row import (
    NO_PARAMETERS,
    ONE_LINEAR_MAP,
    Architecture,
    from_timm,
    images,
    timm_full,
)


def _with_attention(byobnet: Any, layer: str, **options: int) -> Any:
    """Return a stage of two bottlenecks, and one of two with attention for the 3×3 convolution."""
    block = partial(byobnet.ByoBlockCfg, d=2, s=2, gs=0, br=0.25)
    return byobnet.ByoModelCfg(
        blocks=(block(type="bottle", c=16), block(type="self_attn", c=32)),
        stem_chs=8,
        stem_type="3x3",
        stem_pool="",
        fixed_input_size=layer == "bottleneck",
        self_attn_layer=layer,
        self_attn_kwargs={"dim_head": 8, **options},
    )


RESIDUAL = [
    Architecture(
        "BoTNet (attention with relative positions)",
        "timm.models.byobnet.BottleneckBlock, SelfAttnBlock; timm.layers.bottleneck_attn.PosEmbedRel",
        "Σ d blocks; the first of each of 4 stages projects. Scores of width, of height and of contents are "
        "added inside the attention",
        from_timm(
            lambda timm: timm.models.byobnet.ByobNet(
                _with_attention(timm.models.byobnet, "bottleneck"), num_classes=10, img_size=32
            )
        ),
        images(),
        {"projection>relu": 2, "identity>relu": 2},
        timm_full("botnet26t_256", {"projection": 4, "identity": 4}, side=256),
        passed_over=(ONE_LINEAR_MAP, NO_PARAMETERS),
    ),
    Architecture(
        "HaloNet (attention in blocks)",
        "timm.models.byobnet.BottleneckBlock, SelfAttnBlock; timm.layers.halo_attn.PosEmbedRel",
        "Σ d blocks; the first of each of 4 stages projects. Scores of width, of height and of contents are "
        "added inside the attention",
        from_timm(
            lambda timm: timm.models.byobnet.ByobNet(
                _with_attention(timm.models.byobnet, "halo", block_size=2, halo_size=1), num_classes=10
            )
        ),
        images(),
        {"projection>relu": 2, "identity>relu": 2},
        timm_full("halonet26t", {"projection": 4, "identity": 4}, side=256),
        passed_over=(ONE_LINEAR_MAP,),
    ),
    Architecture(
        "Hiera (max-pooled shortcuts)",
        "timm.models.hiera.HieraBlock",
        "Σ stages blocks × (attention + MLP); where a stage widens, the normalised x is projected and "
        "max-pooled for the attention's shortcut",
        from_timm(
            lambda timm: timm.models.hiera.Hiera(
                img_size=(64, 64),
                embed_dim=8,
                stages=(1, 1, 2),
                q_pool=2,
                mask_unit_attn=(True, True, False),
                mask_unit_size=(4, 4),
                num_classes=10,
            )
        ),
        images(64, batch=2),
        {"identity": 4, "identity>layer_norm": 2, "projection": 2},
        timm_full("hiera_tiny_224", {"identity": 21, "projection": 3}),
    ),
]
"""Rows of the table."""
