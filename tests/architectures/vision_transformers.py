"""Vision transformers: global, windowed, pooled, cross-covariance and class attention."""

from __future__ import annotations

import torchvision

from architectures.row import (
    NO_ORIGIN,
    ONE_SPLIT,
    TWO_BRANCHES,
    Architecture,
    from_timm,
    from_transformers,
    images,
    seeding,
    timm_full,
    torchvision_full,
)

_BLOCKS = "depth blocks × (attention + MLP)"

RESIDUAL = [
    Architecture(
        "ViT",
        "torchvision.models.vision_transformer.EncoderBlock",
        f"{_BLOCKS}; position embeddings are added to every sample, so operands of two shapes",
        seeding(
            lambda: torchvision.models.VisionTransformer(
                image_size=32,
                patch_size=8,
                num_layers=2,
                num_heads=2,
                hidden_dim=16,
                mlp_dim=32,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 4},
        torchvision_full("vit_b_16", {"identity": 24}),
    ),
    Architecture(
        "DeiT (distilled)",
        "timm.models.vision_transformer.Block",
        f"{_BLOCKS}; the sum of the two heads has no shortcut",
        from_timm(
            lambda timm: timm.create_model(
                "deit_tiny_distilled_patch16_224",
                img_size=32,
                patch_size=8,
                embed_dim=24,
                depth=2,
                num_heads=3,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 4},
        timm_full("deit_tiny_distilled_patch16_224", {"identity": 24}),
        passed_over=(TWO_BRANCHES,),
    ),
    Architecture(
        "CaiT (LayerScale, class attention)",
        "timm.models.cait.LayerScaleBlock, LayerScaleBlockClassAttn",
        "(depth + depth_token_only) blocks × (attention + MLP); in the last ones x_l is the class "
        "token alone, "
        "and the branch also reads the patches",
        from_timm(
            lambda timm: timm.models.cait.Cait(
                img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=10
            )
        ),
        images(),
        {"identity": 7, "identity>other": 1},
        timm_full("cait_xxs24_224", {"identity": 52}),
    ),
    Architecture(
        "BEiT (LayerScale, relative positions)",
        "timm.models.beit.Block",
        _BLOCKS,
        from_timm(
            lambda timm: timm.models.beit.Beit(
                img_size=32,
                patch_size=8,
                embed_dim=16,
                depth=2,
                num_heads=2,
                init_values=0.1,
                use_rel_pos_bias=True,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 4},
        timm_full("beit_base_patch16_224", {"identity": 24}),
    ),
    Architecture(
        "Swin",
        "torchvision.models.swin_transformer.SwinTransformerBlock",
        "Σ depths blocks × (window attention + MLP); patch merging stands between stages",
        seeding(
            lambda: torchvision.models.SwinTransformer(
                patch_size=[4, 4],
                embed_dim=8,
                depths=[2, 1],
                num_heads=[1, 2],
                window_size=[4, 4],
                num_classes=10,
            )
        ),
        images(),
        {"identity": 5, "identity>other": 1},
        torchvision_full("swin_t", {"identity": 24}),
    ),
    Architecture(
        "Swin V2 (normalised behind the branch)",
        "transformers Swinv2Layer",
        "Σ depths blocks × (window attention + MLP)",
        from_transformers(
            lambda transformers: transformers.Swinv2Model(
                transformers.Swinv2Config(
                    image_size=32, embed_dim=8, depths=[2, 1], num_heads=[1, 2], window_size=4
                )
            )
        ),
        images(),
        {"identity": 5, "identity>other": 1},
        timm_full("swinv2_tiny_window8_256", {"identity": 24}, side=256),
    ),
    Architecture(
        "MaxViT",
        "torchvision.models.maxvit.MBConv, PartitionAttentionLayer",
        "layers × (MBConv + window attention + MLP + grid attention + MLP); the first MBConv of a "
        "stage projects",
        seeding(
            lambda: torchvision.models.MaxVit(
                input_size=(32, 32),
                stem_channels=8,
                partition_size=2,
                block_channels=[8, 16],
                block_layers=[1, 2],
                head_dim=8,
                stochastic_depth_prob=0.1,
                num_classes=10,
            )
        ),
        images(),
        {"projection": 2, "identity": 13},
        torchvision_full("maxvit_t", {"projection": 4, "identity": 51}),
    ),
    Architecture(
        "PVT",
        "transformers PvtLayer",
        "Σ depths blocks × (attention + MLP)",
        from_transformers(
            lambda transformers: transformers.PvtModel(
                transformers.PvtConfig(
                    image_size=32,
                    depths=[1, 1, 1, 1],
                    hidden_sizes=[8, 8, 8, 8],
                    num_attention_heads=[1, 1, 1, 1],
                )
            )
        ),
        images(),
        {"identity": 5, "identity>other": 3},
        timm_full("pvt_v2_b0", {"identity": 16}),
    ),
    Architecture(
        "Twins-SVT (positions by convolution)",
        "timm.models.twins.Block, PosConv",
        "Σ depths blocks × (attention + MLP), and one convolution added to its input a stage; small: "
        "18 × 2 + 4",
        from_timm(
            lambda timm: timm.models.twins.Twins(
                img_size=32,
                patch_size=4,
                embed_dims=(8, 16),
                num_heads=(1, 2),
                mlp_ratios=(2, 2),
                depths=(1, 1),
                sr_ratios=(2, 1),
                wss=(2, 2),
                num_classes=10,
            )
        ),
        images(),
        {"identity": 5, "identity>convolution+layer_norm": 1},
        timm_full("twins_svt_small", {"identity": 40}),
    ),
    Architecture(
        "XCiT (cross-covariance, class attention)",
        "timm.models.xcit.XCABlock, ClassAttentionBlock",
        "depth × (attention + local patches + MLP), and 2 class attention blocks × 2; positions are "
        "added to patches",
        from_timm(
            lambda timm: timm.models.xcit.Xcit(
                img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, eta=1.0, num_classes=10
            )
        ),
        images(),
        {"identity": 4, "identity>cat": 1, "identity>other": 2},
        timm_full("xcit_nano_12_p16_224", {"identity": 40}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "DaViT (dual attention)",
        "timm.models.davit.SpatialBlock, ChannelBlock",
        "Σ depths × 2 blocks × (convolution + attention + convolution + MLP); tiny: 6 × 2 × 4",
        from_timm(
            lambda timm: timm.models.davit.DaVit(
                depths=(1, 1), embed_dims=(8, 16), num_heads=(1, 2), window_size=4, num_classes=10
            )
        ),
        images(),
        {"identity": 15, "identity>layer_norm+constant_pad_nd+convolution": 1},
        timm_full("davit_tiny", {"identity": 48}),
    ),
    Architecture(
        "FocalNet",
        "timm.models.focalnet.FocalNetBlock",
        "Σ depths blocks × (focal modulation + MLP); modulation adds up split contexts",
        from_timm(lambda timm: timm.models.focalnet.FocalNet(depths=(1, 1), embed_dim=8, num_classes=10)),
        images(),
        {"identity": 3, "identity>convolution+layer_norm": 1},
        timm_full("focalnet_tiny_srf", {"identity": 24}),
        passed_over=(ONE_SPLIT,),
    ),
]
"""Rows of the table."""
