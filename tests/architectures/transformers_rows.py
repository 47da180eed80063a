"""What rows about transformers have in common: small configurations, inputs, and how units are counted."""

from __future__ import annotations

from typing import Any

from architectures.row import (
    Full,
    Kinds,
    from_transformers,
    tokens,
    transformers_full,
)

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 40,
    "max_position_embeddings": 16,
}
SEQ2SEQ = {
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
TOKENS = tokens("input_ids")
BOTH = tokens("input_ids", "decoder_input_ids")
LAYERS = "num_hidden_layers × (attention + MLP)"
POST = f"{LAYERS}, LN behind each addition"
DECODER = "encoder layers × (attention + MLP) + decoder layers × (attention + cross-attention + MLP)"


def full(model: str, config: str, units: Kinds, inputs: Any = TOKENS, **options: Any) -> Full:
    """Return the network of a configuration's defaults."""
    return transformers_full(
        f"transformers:{model}",
        lambda transformers: getattr(transformers, model)(getattr(transformers, config)(**options)),
        inputs,
        units,
    )


def small(model: str, config: str, **options: Any) -> Any:
    """Return a builder of `model` with `options` for its configuration."""
    return from_transformers(
        lambda transformers: getattr(transformers, model)(getattr(transformers, config)(**options))
    )
