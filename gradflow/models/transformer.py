"""A small transformer encoder, with layer normalisation before or behind each addition.

The two writings of Xiong et al. 2020 (arXiv:2002.04745), figure 1: post-LN is the original one, x ← LN(x +
F(x)); pre-LN has x ← x + F(LN(x)), and a last LN after all layers. Both initialise as there: Xavier's normal
rule, biases 0. `gradflow probe --model gradflow.models.transformer:PreNormTransformer` measures one, on the
sequences that `--data` gives it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product self-attention with one head, without mask."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        mixed = F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.out(mixed)  # type: ignore[no-any-return] # nn.Module's call is untyped


class FeedForward(nn.Module):
    """W₂ ReLU(W₁ x), as wide inside as outside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        return self.second(F.relu(self.first(x)))  # type: ignore[no-any-return] # nn.Module's call is untyped


class Sublayer(nn.Module):
    """One residual unit: attention or a feed-forward network, with its normalisation."""

    def __init__(self, branch: nn.Module, width: int, *, normalise_first: bool) -> None:
        super().__init__()
        self.branch = branch
        self.norm = nn.LayerNorm(width)
        self.normalise_first = normalise_first

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to the same shape."""
        if self.normalise_first:
            return x + self.branch(self.norm(x))  # type: ignore[no-any-return] # nn.Module's call is untyped
        return self.norm(x + self.branch(x))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """An encoder of vectors, not of words: its input is (batch, tokens, width), its output class scores.

    Args:
        layers: L; each has an attention and a feed-forward sublayer.
        width: d.
        num_classes: outputs of the head, which reads the mean over tokens.
        normalise_first: pre-LN rather than post-LN.
        seed: of the initial weights.
    """

    def __init__(
        self, layers: int, width: int, num_classes: int, *, normalise_first: bool, seed: int = 0
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for _ in range(layers):
            for branch in (Attention(width), FeedForward(width)):
                self.layers.append(Sublayer(branch, width, normalise_first=normalise_first))
        self.norm = nn.LayerNorm(width) if normalise_first else nn.Identity()
        self.head = nn.Linear(width, num_classes)
        generator = torch.Generator().manual_seed(seed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, tokens, width) to logits (batch, num_classes)."""
        x = self.norm(self.layers(x))
        return self.head(x.mean(dim=1))  # type: ignore[no-any-return] # nn.Module's call is untyped

    def feed_forward_weights(self) -> list[Tensor]:
        """Return W₂ of every layer, from the first to the last."""
        return [part.second.weight for part in self.modules() if isinstance(part, FeedForward)]


class PreNormTransformer(Transformer):
    """Pre-LN."""

    def __init__(self, layers: int = 6, width: int = 64, num_classes: int = 10, seed: int = 0) -> None:
        super().__init__(layers, width, num_classes, normalise_first=True, seed=seed)


class PostNormTransformer(Transformer):
    """Post-LN."""

    def __init__(self, layers: int = 6, width: int = 64, num_classes: int = 10, seed: int = 0) -> None:
        super().__init__(layers, width, num_classes, normalise_first=False, seed=seed)
