"""Language, speech and detection transformers: encoders, decoders and both, pre-LN and post-LN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from architectures.row import (
    A_CONSTANT,
    NO_ORIGIN,
    NO_PARAMETERS,
    POSITIONS,
    THIRD_OPERAND,
    TWO_BRANCHES,
    WITHOUT_GRADIENTS,
    Architecture,
    Full,
    Kinds,
    from_transformers,
    images,
    tokens,
    transformers_full,
)

_SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 40,
    "max_position_embeddings": 16,
}
_SEQ2SEQ = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "vocab_size": 40,
    "max_position_embeddings": 16,
}
_TOKENS = tokens("input_ids")
_BOTH = tokens("input_ids", "decoder_input_ids")
_LAYERS = "num_hidden_layers × (attention + MLP)"
_POST = f"{_LAYERS}, LN behind each addition"
_DECODER = "encoder layers × (attention + MLP) + decoder layers × (attention + cross-attention + MLP)"


def _full(model: str, config: str, units: Kinds, inputs: Any = _TOKENS, **options: Any) -> Full:
    """Return the network of a configuration's defaults."""
    return transformers_full(
        f"transformers:{model}",
        lambda transformers: getattr(transformers, model)(getattr(transformers, config)(**options)),
        inputs,
        units,
    )


def _model(model: str, config: str, **options: Any) -> Any:
    """Return a builder of `model` with `options` for its configuration."""
    return from_transformers(
        lambda transformers: getattr(transformers, model)(getattr(transformers, config)(**options))
    )


def _speech() -> Tensor:
    return torch.randn(2, 64, generator=torch.Generator().manual_seed(1))


def _detr(transformers: Any) -> nn.Module:
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    sizes = {name: value for name, value in _SEQ2SEQ.items() if not name.startswith(("vocab", "max"))}
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


RESIDUAL = [
    Architecture(
        "BERT (post-LN encoder)",
        "transformers BertSelfOutput, BertOutput",
        f"{_POST}; token type and position embeddings are no units",
        _model("BertModel", "BertConfig", **_SMALL),
        _TOKENS,
        {"identity>layer_norm": 4},
        _full("BertModel", "BertConfig", {"identity": 24}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "RoBERTa (post-LN encoder)",
        "transformers RobertaSelfOutput, RobertaOutput",
        _POST,
        _model("RobertaModel", "RobertaConfig", **_SMALL),
        _TOKENS,
        {"identity>layer_norm": 4},
        _full("RobertaModel", "RobertaConfig", {"identity": 24}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "ALBERT (layers that share their weights)",
        "transformers AlbertLayer",
        f"{_POST}; all layers have the same weights, and each runs as units of its own. GELU's tanh "
        "form adds",
        _model("AlbertModel", "AlbertConfig", embedding_size=8, **_SMALL),
        _TOKENS,
        {"identity>layer_norm": 4},
        _full("AlbertModel", "AlbertConfig", {"identity": 24}, hidden_size=768, num_attention_heads=12),
        passed_over=(NO_ORIGIN, NO_PARAMETERS),
    ),
    Architecture(
        "DeBERTa v2 (disentangled attention)",
        "transformers DebertaV2SelfOutput, DebertaV2Output",
        f"{_POST}; scores of contents and of positions are added inside the attention",
        _model(
            "DebertaV2Model",
            "DebertaV2Config",
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_biased_input=False,
            **_SMALL,
        ),
        _TOKENS,
        {"identity>layer_norm": 4},
        None,
        passed_over=(TWO_BRANCHES,),
    ),
    Architecture(
        "FNet (Fourier mixing)",
        "transformers FNetLayer",
        "num_hidden_layers × (Fourier mixing + MLP)",
        _model(
            "FNetModel",
            "FNetConfig",
            **{name: value for name, value in _SMALL.items() if name != "num_attention_heads"},
        ),
        _TOKENS,
        {"identity>other": 1, "identity": 1},
        _full("FNetModel", "FNetConfig", {"identity": 12}, max_position_embeddings=8, type_vocab_size=4),
        passed_over=(NO_ORIGIN, NO_PARAMETERS),
        unsupported="the mixing halves: a Fourier transform has no parameters",
    ),
    Architecture(
        "GPT-2 (pre-LN decoder)",
        "transformers GPT2Block",
        "n_layer × (attention + MLP); GELU's tanh form adds",
        _model(
            "GPT2LMHeadModel", "GPT2Config", n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=16
        ),
        _TOKENS,
        {"identity": 4},
        _full("GPT2LMHeadModel", "GPT2Config", {"identity": 24}),
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "GPT-J (parallel attention and MLP)",
        "transformers GPTJBlock",
        "one unit a block, attention + MLP + x: the sum of the two branches has no shortcut",
        _model(
            "GPTJForCausalLM",
            "GPTJConfig",
            n_layer=2,
            n_head=2,
            n_embd=16,
            vocab_size=40,
            n_positions=16,
            rotary_dim=4,
        ),
        _TOKENS,
        {"identity": 2},
        _full("GPTJForCausalLM", "GPTJConfig", {"identity": 28}),
        passed_over=(NO_PARAMETERS, TWO_BRANCHES),
    ),
    Architecture(
        "GPT-NeoX (parallel attention and MLP)",
        "transformers GPTNeoXLayer",
        "one unit a layer, MLP + attention + x (use_parallel_residual)",
        _model("GPTNeoXForCausalLM", "GPTNeoXConfig", **_SMALL),
        _TOKENS,
        {"identity": 2},
        _full("GPTNeoXForCausalLM", "GPTNeoXConfig", {"identity": 44}),
        passed_over=(NO_PARAMETERS, TWO_BRANCHES),
    ),
    Architecture(
        "Phi (parallel attention and MLP)",
        "transformers PhiDecoderLayer",
        "one unit a layer, attention + MLP + x",
        _model("PhiForCausalLM", "PhiConfig", **_SMALL),
        _TOKENS,
        {"identity": 2},
        _full("PhiForCausalLM", "PhiConfig", {"identity": 24}),
        passed_over=(NO_PARAMETERS, TWO_BRANCHES),
    ),
    Architecture(
        "Cohere (parallel, added from the left)",
        "transformers CohereDecoderLayer",
        "one unit a layer, (x + attention) + MLP: found as x + attention",
        _model("CohereForCausalLM", "CohereConfig", num_key_value_heads=2, **_SMALL),
        _TOKENS,
        {"identity>add": 2},
        None,
        passed_over=(NO_PARAMETERS, THIRD_OPERAND),
        unsupported="a third operand: the MLP's part arrives at x_l as one from outside the unit",
    ),
    Architecture(
        "Llama",
        "transformers LlamaDecoderLayer",
        f"{_LAYERS}; rotary positions add inside the attention",
        _model("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=1, **_SMALL),
        _TOKENS,
        {"identity": 4},
        _full("LlamaForCausalLM", "LlamaConfig", {"identity": 64}),
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "Gemma 2 (LN before and behind the branch)",
        "transformers Gemma2DecoderLayer",
        _LAYERS,
        _model("Gemma2ForCausalLM", "Gemma2Config", num_key_value_heads=1, head_dim=8, **_SMALL),
        _TOKENS,
        {"identity": 4},
        _full("Gemma2ForCausalLM", "Gemma2Config", {"identity": 52}),
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "Mixtral (mixture of experts)",
        "transformers MixtralDecoderLayer",
        f"{_LAYERS}; the experts' outputs are gathered, not added as whole tensors",
        _model(
            "MixtralForCausalLM",
            "MixtralConfig",
            num_key_value_heads=1,
            num_local_experts=2,
            experts_implementation="eager",  # the grouped product is not for float64
            **_SMALL,
        ),
        _TOKENS,
        {"identity": 4},
        None,
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "OPT",
        "transformers OPTDecoderLayer",
        _LAYERS,
        _model(
            "OPTForCausalLM",
            "OPTConfig",
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            ffn_dim=32,
            vocab_size=40,
            max_position_embeddings=16,
            word_embed_proj_dim=16,
        ),
        _TOKENS,
        {"identity": 4},
        _full("OPTForCausalLM", "OPTConfig", {"identity": 24}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "Mamba (units within units)",
        "transformers MambaBlock, MambaMixer",
        "one unit a block, and one inside its branch: scan + D x, a scale for each channel on the shortcut",
        _model(
            "MambaForCausalLM",
            "MambaConfig",
            hidden_size=16,
            num_hidden_layers=2,
            vocab_size=40,
            state_size=4,
        ),
        _TOKENS,
        {"scaled>other": 2, "identity>other": 1, "identity": 1},
        None,
        passed_over=(NO_PARAMETERS,),
        single_precision="the scan",
    ),
    Architecture(
        "T5 (encoder and decoder, shared position bias)",
        "transformers T5LayerSelfAttention, T5LayerCrossAttention, T5LayerFF",
        _DECODER,
        _model(
            "T5ForConditionalGeneration",
            "T5Config",
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            vocab_size=40,
        ),
        _BOTH,
        {"identity": 9, "identity>other": 1},
        _full("T5ForConditionalGeneration", "T5Config", {"identity": 30}, inputs=_BOTH),
    ),
    Architecture(
        "BART (encoder and decoder, post-LN)",
        "transformers BartEncoderLayer, BartDecoderLayer",
        f"{_DECODER}, LN behind each addition",
        _model("BartForConditionalGeneration", "BartConfig", **_SEQ2SEQ),
        _BOTH,
        {"identity>layer_norm": 9, "identity>other": 1},
        _full(
            "BartForConditionalGeneration",
            "BartConfig",
            {"identity": 60},
            inputs=_BOTH,
            attn_implementation="eager",
        ),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "LXMERT (two streams, cross-attention)",
        "transformers LxmertLayer, LxmertXLayer",
        "(l_layers + r_layers) × 2 + x_layers × 6: cross-attention, self-attention and MLP of each stream",
        _model(
            "LxmertModel",
            "LxmertConfig",
            l_layers=1,
            x_layers=2,
            r_layers=1,
            visual_feat_dim=8,
            **{name: value for name, value in _SMALL.items() if name != "num_hidden_layers"},
        ),
        lambda: {
            **_TOKENS(),
            "visual_feats": torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2)),
            "visual_pos": torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(3)),
        },
        {"identity>layer_norm": 2, "identity>other": 13, "identity": 1},
        None,
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "wav2vec 2.0 (speech)",
        "transformers Wav2Vec2EncoderLayer, Wav2Vec2PositionalConvEmbedding",
        f"1 + {_LAYERS}: positions come from a convolution that is added to its input",
        _model(
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
        _model(
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
        _TOKENS,
        {},
        None,
        passed_over=(NO_ORIGIN, WITHOUT_GRADIENTS),
        unsupported="all: an autograd Function of its own runs the layers without a graph, and again in the "
        "backward pass",
    ),
]
"""Networks with units."""
