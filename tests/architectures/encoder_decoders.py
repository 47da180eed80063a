"""Encoders and decoders together, two streams, speech, detection, reversible layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from architectures.row import (
    A_CONSTANT,
    NO_ORIGIN,
    POSITIONS,
    WITHOUT_GRADIENTS,
    Architecture,
    Full,
    from_transformers,
    images,
    seeding,
)
from architectures.transformers_rows import BOTH, DECODER, LAYERS, SEQ2SEQ, SMALL, TOKENS, full, small


def _audio() -> Tensor:
    return torch.randn(2, 1, 64, generator=torch.Generator().manual_seed(1))


def _encodec(transformers: Any) -> nn.Module:
    model = transformers.EncodecModel(
        transformers.EncodecConfig(
            num_filters=4, hidden_size=16, upsampling_ratios=(2, 2), num_lstm_layers=1, codebook_size=8
        )
    )
    return nn.Sequential(model.encoder, model.decoder)


def _speech() -> Tensor:
    return torch.randn(2, 64, generator=torch.Generator().manual_seed(1))


def _pictured(features: int) -> dict[str, Tensor]:
    """Return tokens, and features and places of 5 regions of a picture."""
    generator = torch.Generator().manual_seed(2)
    return {
        **TOKENS(),
        "visual_feats": torch.randn(2, 5, features, generator=generator),
        "visual_pos": torch.randn(2, 5, 4, generator=generator),
    }


def _detr(transformers: Any) -> nn.Module:
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    sizes = {name: value for name, value in SEQ2SEQ.items() if not name.startswith(("vocab", "max"))}
    return transformers.DetrModel(
        transformers.DetrConfig(
            use_timm_backbone=False,
            use_pretrained_backbone=False,
            backbone=None,
            backbone_config=backbone,
            num_queries=5,
            **sizes,
        )
    )


def _rows_and_targets() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 6, 16, generator=generator), torch.randn(2, 5, 16, generator=generator)


RESIDUAL = [
    Architecture(
        "nn.Transformer (encoder and decoder, post-LN)",
        "torch.nn.TransformerEncoderLayer, TransformerDecoderLayer",
        f"{DECODER}, LN behind each addition",
        seeding(
            lambda: nn.Transformer(
                d_model=16,
                nhead=2,
                num_encoder_layers=2,
                num_decoder_layers=2,
                dim_feedforward=32,
                batch_first=True,
            )
        ),
        _rows_and_targets,
        {"identity>layer_norm": 9, "identity>other": 1},
        Full(
            "torch:nn.Transformer",
            lambda: nn.Transformer(batch_first=True),
            lambda: (torch.zeros(2, 6, 512), torch.zeros(2, 5, 512)),
            {"identity": 30},
        ),
    ),
    Architecture(
        "T5 (encoder and decoder, shared position bias)",
        "transformers T5LayerSelfAttention, T5LayerCrossAttention, T5LayerFF",
        DECODER,
        small(
            "T5ForConditionalGeneration",
            "T5Config",
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            vocab_size=40,
        ),
        BOTH,
        {"identity": 9, "identity>other": 1},
        full("T5ForConditionalGeneration", "T5Config", {"identity": 30}, inputs=BOTH),
    ),
    Architecture(
        "BART (encoder and decoder, post-LN)",
        "transformers BartEncoderLayer, BartDecoderLayer",
        f"{DECODER}, LN behind each addition",
        small("BartForConditionalGeneration", "BartConfig", **SEQ2SEQ),
        BOTH,
        {"identity>layer_norm": 9, "identity>other": 1},
        full(
            "BartForConditionalGeneration",
            "BartConfig",
            {"identity": 60},
            inputs=BOTH,
            attn_implementation="eager",
        ),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "LXMERT (two streams, cross-attention)",
        "transformers LxmertLayer, LxmertXLayer",
        "(l_layers + r_layers) × 2 + x_layers × 6: cross-attention, self-attention and MLP of each stream",
        small(
            "LxmertModel",
            "LxmertConfig",
            l_layers=1,
            x_layers=2,
            r_layers=1,
            visual_feat_dim=8,
            **{name: value for name, value in SMALL.items() if name != "num_hidden_layers"},
        ),
        partial(_pictured, features=8),
        {"identity>layer_norm": 2, "identity>other": 13, "identity": 1},
        full("LxmertModel", "LxmertConfig", {"identity": 58}, inputs=partial(_pictured, features=2048)),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "wav2vec 2.0 (speech)",
        "transformers Wav2Vec2EncoderLayer, Wav2Vec2PositionalConvEmbedding",
        f"1 + {LAYERS}: positions come from a convolution that is added to its input",
        small(
            "Wav2Vec2Model",
            "Wav2Vec2Config",
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=(8, 8),
            conv_kernel=(4, 4),
            conv_stride=(2, 2),
            num_feat_extract_layers=2,
            num_conv_pos_embedding_groups=2,
            num_conv_pos_embeddings=4,
            mask_time_prob=0.0,
            layerdrop=0.0,
        ),
        _speech,
        {"identity>layer_norm+mul": 1, "identity>layer_norm": 4},
        full(
            "Wav2Vec2Model",
            "Wav2Vec2Config",
            {"identity": 25},
            inputs=partial(torch.zeros, 2, 1000),
            mask_time_prob=0.0,
            layerdrop=0.0,
        ),
    ),
    Architecture(
        "EnCodec (weight-normalised convolutions)",
        "transformers EncodecResnetBlock, EncodecLSTM",
        "a block with a weight-normalised 1×1 convolution on its shortcut for each ratio, and one sum around "
        "the LSTM, in the encoder and in the decoder (here without the quantiser between them, which passes "
        "no gradient)",
        from_transformers(_encodec),
        _audio,
        {"projection>other": 3, "projection": 1, "identity>other": 2},
        None,
    ),
    Architecture(
        "DETR (detection)",
        "transformers DetrEncoderLayer, DetrDecoderLayer",
        "backbone + encoder layers × 2 + decoder layers × 3 − 1: the first self-attention is added to zeros. "
        "Query positions are added again in every decoder layer, and are no units",
        from_transformers(_detr),
        images(),
        {
            "identity>relu": 1,
            "projection>relu": 2,
            "projection>relu+convolution+mul": 1,
            "identity>layer_norm": 8,
            "identity>other": 1,
        },
        None,
        passed_over=(A_CONSTANT, POSITIONS),
    ),
    Architecture(
        "Reformer (reversible)",
        "transformers ReformerLayer, _ReversibleFunction",
        "attention + MLP on two streams a layer",
        small(
            "ReformerModelWithLMHead",
            "ReformerConfig",
            hidden_size=16,
            attention_head_size=8,
            num_attention_heads=2,
            feed_forward_size=32,
            vocab_size=40,
            attn_layers=["local", "local"],
            axial_pos_embds=False,
            max_position_embeddings=16,
            local_attn_chunk_length=4,
            is_decoder=True,
        ),
        TOKENS,
        {},
        None,
        passed_over=(NO_ORIGIN, WITHOUT_GRADIENTS),
        unsupported="all: an autograd Function of its own runs the layers without a graph, and again in the "
        "backward pass",
    ),
]
"""Rows of the table."""
