"""Vision networks with something else in the place of attention: mixing, gating, pooling."""

from __future__ import annotations

from architectures.row import (
    Architecture,
    from_timm,
    images,
    timm_full,
)

RESIDUAL = [
    Architecture(
        "MLP-Mixer",
        "timm.models.mlp_mixer.MixerBlock",
        "num_blocks × (token mixing + channel mixing)",
        from_timm(
            lambda timm: timm.models.mlp_mixer.MlpMixer(
                img_size=32, patch_size=8, num_blocks=2, embed_dim=16, num_classes=10
            )
        ),
        images(),
        {"identity": 4},
        timm_full("mixer_s32_224", {"identity": 16}),
    ),
    Architecture(
        "ResMLP",
        "timm.models.mlp_mixer.ResBlock",
        "num_blocks × (token mixing + channel mixing), each with a LayerScale",
        from_timm(
            lambda timm: timm.models.mlp_mixer.MlpMixer(
                img_size=32,
                patch_size=8,
                num_blocks=2,
                embed_dim=16,
                mlp_ratio=4,
                block_layer=timm.models.mlp_mixer.ResBlock,
                norm_layer=timm.models.mlp_mixer.Affine,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 4},
        timm_full("resmlp_12_224", {"identity": 24}),
    ),
    Architecture(
        "gMLP",
        "timm.models.mlp_mixer.SpatialGatingBlock",
        "one unit a block; the spatial gate multiplies",
        from_timm(
            lambda timm: timm.models.mlp_mixer.MlpMixer(
                img_size=32,
                patch_size=8,
                num_blocks=2,
                embed_dim=16,
                mlp_ratio=4,
                block_layer=timm.models.mlp_mixer.SpatialGatingBlock,
                mlp_layer=timm.layers.GatedMlp,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 2},
        timm_full("gmlp_s16_224", {"identity": 30}),
    ),
    Architecture(
        "PoolFormer",
        "timm.models.metaformer.MetaFormerBlock, Pooling",
        "Σ depths blocks × (pooling + MLP), each with a LayerScale; the pooling branch has no weight matrix",
        from_timm(
            lambda timm: timm.models.metaformer.MetaFormer(
                depths=(1, 2),
                dims=(8, 16),
                token_mixers=timm.models.metaformer.Pooling,
                downsample_norm=None,
                layer_scale_init_values=0.1,
                res_scale_init_values=None,
                num_classes=10,
            )
        ),
        images(),
        {"identity": 5, "identity>convolution": 1},
        timm_full("poolformer_s12", {"identity": 24}),
    ),
    Architecture(
        "CAFormer (scaled shortcuts)",
        "timm.models.metaformer.MetaFormerBlock, res_scale",
        "Σ depths blocks × (mixer + MLP); in the last two stages a learned scale stands on the "
        "shortcut: 12 × 2",
        from_timm(
            lambda timm: timm.models.metaformer.MetaFormer(
                depths=(1, 1),
                dims=(8, 16),
                token_mixers=timm.models.metaformer.SepConv,
                res_scale_init_values=(None, 1.0),
                num_classes=10,
            )
        ),
        images(),
        {"identity": 1, "identity>layer_norm+convolution": 1, "scaled": 2},
        timm_full("caformer_s18", {"identity": 12, "scaled": 24}),
    ),
]
"""Rows of the table."""
