"""Networks of a few weights, each with one peculiarity of the networks that people write."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

Combine = Callable[[Tensor, nn.Module], Tensor]
"""From x and F to the unit's output."""

WIDTH = 4
CLASSES = 3


def branch(width: int = WIDTH) -> nn.Module:
    """Return F: linear, tanh, linear."""
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))


def noting(kept: list[weakref.ref[Tensor]]) -> Combine:
    """Return x + F(x) that notes each x without keeping it alive."""

    def add(x: Tensor, f: nn.Module) -> Tensor:
        kept.append(weakref.ref(x))
        return x + f(x)

    return add


class Chain(nn.Module):
    """A stem, units that all combine x and F(x) in one way, and a head.

    Args:
        combine: from x and F to the unit's output.
        units: how many.
        width: of every layer.
    """

    def __init__(self, combine: Combine | None = None, units: int = 3, width: int = WIDTH) -> None:
        super().__init__()
        self.combine = combine or (lambda x, f: x + f(x))
        self.stem = nn.Linear(width, width)
        self.branches = nn.ModuleList(branch(width) for _ in range(units))
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for f in self.branches:
            x = self.combine(x, f)
        return self.head(x)


class Residual(nn.Module):
    """x + F(x), one module a unit.

    Args:
        f: the branch.
    """

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


class LinearBranches(nn.Module):
    """Residual units with given matrices for branches, from the network's input to its output.

    Args:
        matrices: F_i(x) = A_i x, of shape (width, width) each.
        shortcut: λ; 1 leaves the shortcut an identity.
    """

    def __init__(self, *matrices: list[list[float]] | Tensor, shortcut: float = 1.0) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.weights = nn.ParameterList(torch.as_tensor(matrix) for matrix in matrices)

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            h = x if self.shortcut == 1.0 else self.shortcut * x
            x = h + nn.functional.linear(x, weight)
        return x


class ConvolutionalChain(nn.Module):
    """Pre-activation units of BN, ReLU and a convolution on images of three channels.

    Args:
        combine: from x and F to the unit's output.
        units: how many.
        inplace: whether the ReLUs work in place.
    """

    def __init__(self, combine: Combine | None = None, units: int = 3, *, inplace: bool = False) -> None:
        super().__init__()
        self.combine = combine or (lambda x, f: x + f(x))
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=inplace), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
            )
            for _ in range(units)
        )
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for f in self.branches:
            x = self.combine(x, f)
        return self.head(x.mean((2, 3)))


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return what `build` makes, with torch's own initial weights from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def rows(batch: int = 5, width: int = WIDTH, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a batch of vectors of noise, the same on every call."""
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(1)).to(dtype)


def pictures(batch: int = 2, side: int = 6, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a batch of images of noise, the same on every call."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1)).to(dtype)


def labels(batch: int = 5, classes: int = CLASSES) -> Tensor:
    """Return class indices, the same on every call."""
    return torch.randint(0, classes, (batch,), generator=torch.Generator().manual_seed(2))
