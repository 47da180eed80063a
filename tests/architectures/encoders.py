"""Encoders of text, with LN behind the addition."""

from __future__ import annotations

from architectures.row import (
    NO_ORIGIN,
    NO_PARAMETERS,
    TWO_BRANCHES,
    Architecture,
)
from architectures.transformers_rows import POST, SMALL, TOKENS, full, small

RESIDUAL = [
    Architecture(
        "BERT (post-LN encoder)",
        "transformers BertSelfOutput, BertOutput",
        f"{POST}; token type and position embeddings are no units",
        small("BertModel", "BertConfig", **SMALL),
        TOKENS,
        {"identity>layer_norm": 4},
        full("BertModel", "BertConfig", {"identity": 24}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "RoBERTa (post-LN encoder)",
        "transformers RobertaSelfOutput, RobertaOutput",
        POST,
        small("RobertaModel", "RobertaConfig", **SMALL),
        TOKENS,
        {"identity>layer_norm": 4},
        full("RobertaModel", "RobertaConfig", {"identity": 24}),
        passed_over=(NO_ORIGIN,),
    ),
    Architecture(
        "ALBERT (layers that share their weights)",
        "transformers AlbertLayer",
        f"{POST}; all layers have the same weights, and each runs as units of its own. GELU's tanh form adds",
        small("AlbertModel", "AlbertConfig", embedding_size=8, **SMALL),
        TOKENS,
        {"identity>layer_norm": 4},
        full("AlbertModel", "AlbertConfig", {"identity": 24}, hidden_size=768, num_attention_heads=12),
        passed_over=(NO_ORIGIN, NO_PARAMETERS),
    ),
    Architecture(
        "DeBERTa v2 (disentangled attention)",
        "transformers DebertaV2SelfOutput, DebertaV2Output",
        f"{POST}; scores of contents and of positions are added inside the attention",
        small(
            "DebertaV2Model",
            "DebertaV2Config",
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            position_biased_input=False,
            **SMALL,
        ),
        TOKENS,
        {"identity>layer_norm": 4},
        None,
        passed_over=(TWO_BRANCHES,),
    ),
    Architecture(
        "FNet (Fourier mixing)",
        "transformers FNetLayer",
        "num_hidden_layers × (Fourier mixing, which has no parameters, + MLP), LN behind each addition",
        small(
            "FNetModel",
            "FNetConfig",
            **{name: value for name, value in SMALL.items() if name != "num_attention_heads"},
        ),
        TOKENS,
        {"identity>layer_norm": 4},
        full("FNetModel", "FNetConfig", {"identity": 24}, max_position_embeddings=8, type_vocab_size=4),
        passed_over=(NO_ORIGIN, NO_PARAMETERS),
    ),
]
"""Rows of the table."""
