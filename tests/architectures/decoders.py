"""Decoders: pre-LN, parallel attention and MLP, experts, state spaces."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from architectures.row import (
    NO_ORIGIN,
    NO_PARAMETERS,
    ONE_LINEAR_MAP,
    THIRD_OPERAND,
    TWO_BRANCHES,
    Architecture,
    from_transformers,
    tokens,
)
from architectures.transformers_rows import LAYERS, SMALL, TOKENS, full, small
from architectures.written_here import Adapted


def _adapted_llama(transformers: Any) -> nn.Module:
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=1, **SMALL))
    for layer in model.model.layers:
        for name in ("q_proj", "v_proj"):
            setattr(layer.self_attn, name, Adapted(getattr(layer.self_attn, name)))
    return cast("nn.Module", model)


RESIDUAL = [
    Architecture(
        "GPT-2 (pre-LN decoder)",
        "transformers GPT2Block",
        "n_layer × (attention + MLP); GELU's tanh form adds",
        small("GPT2LMHeadModel", "GPT2Config", n_layer=2, n_head=2, n_embd=16, vocab_size=40, n_positions=16),
        TOKENS,
        {"identity": 4},
        full("GPT2LMHeadModel", "GPT2Config", {"identity": 24}),
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "GPT-J (parallel attention and MLP)",
        "transformers GPTJBlock",
        "one unit a block, attention + MLP + x: the sum of the two branches has no shortcut",
        small(
            "GPTJForCausalLM",
            "GPTJConfig",
            n_layer=2,
            n_head=2,
            n_embd=16,
            vocab_size=40,
            n_positions=16,
            rotary_dim=4,
        ),
        TOKENS,
        {"identity": 2},
        full("GPTJForCausalLM", "GPTJConfig", {"identity": 28}),
        passed_over=(NO_PARAMETERS, TWO_BRANCHES),
    ),
    Architecture(
        "GPT-NeoX (parallel attention and MLP)",
        "transformers GPTNeoXLayer",
        "one unit a layer, MLP + attention + x (use_parallel_residual)",
        small("GPTNeoXForCausalLM", "GPTNeoXConfig", **SMALL),
        TOKENS,
        {"identity": 2},
        full("GPTNeoXForCausalLM", "GPTNeoXConfig", {"identity": 44}),
        passed_over=(NO_PARAMETERS, TWO_BRANCHES),
    ),
    Architecture(
        "Phi (parallel attention and MLP)",
        "transformers PhiDecoderLayer",
        "one unit a layer, attention + MLP + x",
        small("PhiForCausalLM", "PhiConfig", **SMALL),
        TOKENS,
        {"identity": 2},
        full("PhiForCausalLM", "PhiConfig", {"identity": 24}),
        passed_over=(NO_PARAMETERS, TWO_BRANCHES),
    ),
    Architecture(
        "Cohere (parallel, added from the left)",
        "transformers CohereDecoderLayer",
        "one unit a layer, (x + attention) + MLP: found as x + attention",
        small("CohereForCausalLM", "CohereConfig", num_key_value_heads=2, **SMALL),
        TOKENS,
        {"identity>add": 2},
        full("CohereForCausalLM", "CohereConfig", {"identity": 40}),
        passed_over=(NO_PARAMETERS, THIRD_OPERAND),
        unsupported="a third operand: the MLP's part arrives at x_l as one from outside the unit",
    ),
    Architecture(
        "Llama",
        "transformers LlamaDecoderLayer",
        f"{LAYERS}; rotary positions add inside the attention",
        small("LlamaForCausalLM", "LlamaConfig", num_key_value_heads=1, **SMALL),
        TOKENS,
        {"identity": 4},
        full("LlamaForCausalLM", "LlamaConfig", {"identity": 64}),
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "Gemma 2 (LN before and behind the branch)",
        "transformers Gemma2DecoderLayer",
        LAYERS,
        small("Gemma2ForCausalLM", "Gemma2Config", num_key_value_heads=1, head_dim=8, **SMALL),
        TOKENS,
        {"identity": 4},
        full("Gemma2ForCausalLM", "Gemma2Config", {"identity": 52}),
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "Mixtral (mixture of experts)",
        "transformers MixtralDecoderLayer",
        f"{LAYERS}; the experts' outputs are gathered, not added as whole tensors",
        small(
            "MixtralForCausalLM",
            "MixtralConfig",
            num_key_value_heads=1,
            num_local_experts=2,
            experts_implementation="eager",  # the grouped product is not for float64
            **SMALL,
        ),
        TOKENS,
        {"identity": 4},
        None,
        passed_over=(NO_PARAMETERS,),
    ),
    Architecture(
        "OPT",
        "transformers OPTDecoderLayer",
        LAYERS,
        small(
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
        TOKENS,
        {"identity": 4},
        full("OPTForCausalLM", "OPTConfig", {"identity": 24}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "Mamba (units within units)",
        "transformers MambaBlock, MambaMixer",
        "one unit a block, and one inside its branch: scan + D x, a scale for each channel on the shortcut",
        small(
            "MambaForCausalLM",
            "MambaConfig",
            hidden_size=16,
            num_hidden_layers=2,
            vocab_size=40,
            state_size=4,
        ),
        TOKENS,
        {"scaled>other": 2, "identity>other": 1, "identity": 1},
        full("MambaForCausalLM", "MambaConfig", {"scaled": 32, "identity": 32}),
        passed_over=(NO_PARAMETERS,),
        single_precision="the scan",
    ),
    Architecture(
        "Mamba 2 (units within units)",
        "transformers Mamba2Block, mamba2_chunk_scan",
        "one unit a block, and one inside its branch: scan + D x, a scale for each head on the shortcut "
        "(behind padding where the length is no multiple of a chunk), whatever the network's precision",
        small(
            "Mamba2Model",
            "Mamba2Config",
            hidden_size=16,
            num_hidden_layers=2,
            vocab_size=40,
            state_size=8,
            num_heads=4,
            head_dim=8,
            n_groups=1,
            chunk_size=4,
        ),
        TOKENS,
        {"scaled>other": 2, "identity>other": 1, "identity": 1},
        full("Mamba2Model", "Mamba2Config", {"scaled": 64, "identity": 64}, tokens("input_ids", length=256)),
        passed_over=(NO_PARAMETERS,),
        single_precision="the scan",
    ),
    Architecture(
        "Jamba (Mamba, attention and experts)",
        "transformers JambaMambaDecoderLayer, JambaAttentionDecoderLayer, JambaMambaMixer",
        "num_hidden_layers × (Mamba or attention + MLP or experts), and scan + D x in each Mamba's branch",
        small(
            "JambaModel",
            "JambaConfig",
            num_key_value_heads=1,
            use_mamba_kernels=False,
            attn_layer_period=2,
            attn_layer_offset=1,
            expert_layer_period=2,
            expert_layer_offset=1,
            num_experts=2,
            experts_implementation="eager",  # as for Mixtral
            mamba_d_state=4,
            mamba_dt_rank=2,
            pad_token_id=0,
            **SMALL,
        ),
        TOKENS,
        {"scaled>other": 1, "identity": 4},
        None,
        passed_over=(NO_PARAMETERS,),
        single_precision="the scan",
    ),
    Architecture(
        "Llama with low-rank adapters (LoRA)",
        "transformers LlamaDecoderLayer; tests/architectures/written_here.py",
        f"{LAYERS}; an adapter's sum of two linear maps is none",
        from_transformers(_adapted_llama),
        TOKENS,
        {"identity": 4},
        None,
        passed_over=(NO_PARAMETERS, ONE_LINEAR_MAP),
    ),
]
"""Rows of the table."""
