"""Blocks that no library here has: several streams, reversible ones, and what only looks residual."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 8


def branch(width: int = WIDTH) -> nn.Module:
    """Return F: norm, linear, GELU, linear."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))


class HyperConnection(nn.Module):
    """One layer on n residual streams, H ← A H + β F(α H): Zhu et al. 2024, static form.

    Args:
        streams: n.
    """

    def __init__(self, streams: int) -> None:
        super().__init__()
        self.read = nn.Parameter(torch.full((streams,), 1 / streams))
        self.mix = nn.Parameter(torch.eye(streams) + 0.1)
        self.write = nn.Parameter(torch.linspace(0.5, 1.5, streams))
        self.f = branch()

    def forward(self, streams: Tensor) -> Tensor:
        """Map streams of shape (batch, width, n) to as many."""
        return streams @ self.mix + self.f(streams @ self.read)[..., None] * self.write


class HyperConnected(nn.Module):
    """A network of hyper-connected layers on two streams."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, WIDTH)
        self.layers = nn.Sequential(*(HyperConnection(2) for _ in range(3)))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x)[..., None].repeat(1, 1, 2)).sum(-1))


class RevNet(nn.Module):
    """Reversible blocks: y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁); Gomez et al. 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(WIDTH, 2 * WIDTH)
        self.f = nn.ModuleList(branch() for _ in range(2))
        self.g = nn.ModuleList(branch() for _ in range(2))
        self.head = nn.Linear(2 * WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.stem(x).chunk(2, dim=1)
        for f, g in zip(self.f, self.g, strict=True):
            first = first + f(second)
            second = second + g(first)
        return self.head(torch.cat([first, second], dim=1))


class UNet(nn.Module):
    """Two resolutions whose skips are concatenated; Ronneberger et al. 2015."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.deep = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2)
        self.out = nn.Conv2d(2 * WIDTH, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        high = torch.relu(self.down(x))
        low = torch.relu(self.deep(high))
        return self.out(torch.cat([high, torch.relu(self.up(low))], dim=1))


class Recurrent(nn.Module):
    """A cell unrolled over time, written out; its weights are the same at each step.

    Args:
        kind: `delta` (h + Δ), `rnn`, `gru` (as in its equations), `interpolating` (h + z (n − h)) or `lstm`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.x = nn.Linear(WIDTH, WIDTH)
        self.h = nn.Linear(WIDTH, WIDTH)
        self.z = nn.Linear(2 * WIDTH, WIDTH)
        self.gates = nn.Linear(2 * WIDTH, 4 * WIDTH)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, sequence: Tensor) -> Tensor:
        hidden = cell = sequence.new_zeros(len(sequence), WIDTH)
        for step in range(sequence.shape[1]):
            x = sequence[:, step]
            if self.kind == "lstm":
                i, f, o, g = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)
                cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
                hidden = torch.sigmoid(o) * torch.tanh(cell)
                continue
            new = torch.tanh(self.x(x) + self.h(hidden))
            z = torch.sigmoid(self.z(torch.cat([x, hidden], 1)))
            hidden = {
                "delta": lambda hidden=hidden, new=new: hidden + new,
                "rnn": lambda new=new: new,
                "gru": lambda hidden=hidden, new=new, z=z: (1 - z) * new + z * hidden,
                "interpolating": lambda hidden=hidden, new=new, z=z: hidden + z * (new - hidden),
            }[self.kind]()
        return self.head(hidden)


class PlainTransformerInput(nn.Module):
    """Token and position embeddings, added, and an MLP whose GELU is written out in its tanh form."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(40, WIDTH)
        self.positions = nn.Embedding(8, WIDTH)
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 4)

    def forward(self, input_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1]).expand(input_ids.shape)
        x = self.first(self.tokens(input_ids) + self.positions(places))
        x = 0.5 * x * (1 + torch.tanh(0.797885 * (x + 0.044715 * x**3)))
        return self.second(x)


class DeepNetResponse(nn.Module):
    """A plain convolution whose output is normalised as in ConvNeXt V2, x + γ x̂ + β."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3)
        self.gamma = nn.Parameter(torch.ones(1, WIDTH, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, WIDTH, 1, 1))
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        norm = x.norm(dim=(2, 3), keepdim=True)
        x = x + self.gamma * (x * norm / (norm.mean(1, keepdim=True) + 1e-6)) + self.beta
        return self.head(x.mean((2, 3)))


class Adapted(nn.Module):
    """A frozen linear map with a low-rank one beside it, W x + B A x; Hu et al. 2021 (LoRA).

    Args:
        base: the map.
        rank: of the other.
    """

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base(x)
        return result + self.up(self.down(self.dropout(x))) * 2


class Heads(nn.Module):
    """An MLP, and heads on what it makes that are summed, in one of several ways.

    Args:
        kind: `vae` (a sample of μ + σ ε), `dueling` (value and advantage; Wang et al. 2016) or `film`
            (a modulation of itself; Perez et al. 2018).
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.body = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.first, self.second = nn.Linear(WIDTH, WIDTH), branch()
        self.value = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.body(x)
        if self.kind == "vae":
            return self.first(z) + torch.exp(0.5 * self.second(z)) * torch.randn_like(z)
        if self.kind == "dueling":
            return self.value(z).expand(-1, WIDTH) + self.first(z)
        return z * self.first(z) + self.second(z)
