"""The two networks that train in the benchmark, and a batch for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn


@dataclass(frozen=True)
class Work:
    """A network and a batch that it trains on.

    Attributes:
        name: of the network.
        says: the batch in words.
        model: in training mode.
        inputs: what it is called with.
        targets: class indices.
    """

    name: str
    says: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor

    def loss(self, outputs: Tensor) -> Tensor:
        """Return the mean cross-entropy of the outputs."""
        return F.cross_entropy(outputs.flatten(0, -2), self.targets.flatten())


class LanguageModel(nn.Module):
    """GPT-2, from tokens to logits and nothing else.

    Args:
        layers: transformer blocks.
        width: of the residual stream.
    """

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(n_layer=layers, n_head=width // 64, n_embd=width, use_cache=False)
        self.gpt2 = GPT2LMHeadModel(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of shape (batch, tokens, vocabulary)."""
        return self.gpt2(input_ids=tokens).logits


def _resnet(build: Callable[[], nn.Module], name: str, batch: int, side: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, side, side, generator=generator)
    return Work(
        name,
        f"{batch} images of {side} × {side}, channels-last",
        build().to(memory_format=torch.channels_last),
        images.contiguous(memory_format=torch.channels_last),
        torch.randint(0, 1000, (batch,), generator=generator),
    )


def _gpt2(name: str, layers: int, width: int, batch: int, length: int) -> Work:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 50257, (batch, length + 1), generator=generator)
    says = f"{batch} sequences of {length} tokens"
    return Work(
        name, says, LanguageModel(layers, width), tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    )


WORK: dict[str, Callable[[], Work]] = {
    "resnet50": lambda: _resnet(torchvision.models.resnet50, "ResNet-50", 8, 224),
    "gpt2": lambda: _gpt2("GPT-2 small", 12, 768, 2, 256),
}
"""What is measured, by name on the command line."""

TRIAL: dict[str, Callable[[], Work]] = {
    "resnet50": lambda: _resnet(torchvision.models.resnet18, "ResNet-18", 2, 32),
    "gpt2": lambda: _gpt2("GPT-2, two layers", 2, 64, 1, 8),
}
"""The same in small, to try the script."""
