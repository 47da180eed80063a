"""Fully connected nets at initialisation, plain and residual, with and without BN: signals and gradients.

A layer is x ← (x +) β W ReLU(BN(x)), shortcut and BN where they are asked for, W of He's initialisation. BN's
statistics are the batch's and count as constants in the backward pass, as in the derivations, so that each
sample has a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gradflow.theory import correlations


@dataclass(frozen=True)
class Net:
    """One kind of net.

    Attributes:
        name: what it is called.
        residual: whether there is a shortcut.
        normalised: whether BN stands before each ReLU.
        depths: L, at which gradients are compared.
        scales: β of each layer.
    """

    name: str
    residual: bool
    normalised: bool
    depths: tuple[int, ...]
    scales: tuple[float, ...] = field(default=())

    @property
    def layers(self) -> int:
        """The deepest L."""
        return max(self.depths)


@dataclass(frozen=True, eq=False)
class Pass:
    """One forward pass: x_0 to x_L, what each ReLU let through, and the share of co-active rectifiers."""

    states: list[Tensor]
    rectified: list[Tensor]

    @property
    def co_active(self) -> float:
        """Share of (pair of samples, rectifier) in which both are on, over all layers."""
        shares = []
        for seen in self.rectified:
            count = (seen > 0).double().sum(0)
            shares.append(float((count * (count - 1)).mean()) / (len(seen) * (len(seen) - 1)))
        return float(np.mean(shares))

    @property
    def uncorrelated(self) -> bool:
        """Whether that is the quarter, to a tenth, that Balduzzi's predictions take for granted."""
        return abs(self.co_active / correlations.CO_ACTIVE - 1) <= 0.1

    def gradients(self, readout: Tensor, depth: int) -> list[Tensor]:
        """Return the gradient of x_depth · readout with respect to x_0, …, x_depth, sample by sample."""
        loss = (self.states[depth] @ readout).sum()
        return list(torch.autograd.grad(loss, self.states[: depth + 1], retain_graph=True))


def forward(net: Net, inputs: Tensor, seed: int) -> Pass:
    """Run `net` with the weights of `seed`.

    Args:
        net: the kind.
        inputs: x_0, (batch, width), in float64.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    width = inputs.shape[1]
    run = Pass([inputs.clone().requires_grad_()], [])
    for layer in range(net.layers):
        x = run.states[-1]
        seen = x
        if net.normalised:
            held = x.detach()
            seen = (x - held.mean(0)) / held.std(0, correction=0)
        run.rectified.append(torch.relu(seen))
        weight = torch.randn(width, width, generator=generator, dtype=x.dtype) * (2 / width) ** 0.5
        scale = net.scales[layer] if net.scales else 1.0
        branch = scale * run.rectified[-1] @ weight.T
        run.states.append(x + branch if net.residual else branch)
    return run


def mean_cosine(gradients: Tensor) -> float:
    """Return the mean cosine over pairs of samples; `gradients` is (batch, width)."""
    directions = gradients / gradients.norm(dim=1, keepdim=True)
    n = len(directions)
    return float((directions.sum(0).square().sum() - n) / (n * (n - 1)))


def depth_rows(net: Net, run: Pass, seed: int) -> Iterator[dict[str, float]]:
    """Yield for each depth the correlation of input gradients; for the deepest net each state's size.

    `energy` is E[x_l²] over the batch, `gradient` ‖g_l‖², `parameter` the mean of ‖∂E/∂W_l‖² over samples.
    """
    generator = torch.Generator().manual_seed(seed + 10_000)
    readout = torch.randn(run.states[0].shape[1], generator=generator, dtype=torch.float64)
    for depth in net.depths:
        yield {"depth": depth, "correlation": mean_cosine(run.gradients(readout, depth)[0])}
    gradients = run.gradients(readout, net.layers)
    for layer, (state, gradient) in enumerate(zip(run.states, gradients, strict=True)):
        row = {"layer": layer, "energy": _energy(state), "gradient": _energy(gradient)}
        if layer < net.layers:
            arriving, seen = gradients[layer + 1], run.rectified[layer]
            row["parameter"] = float((arriving.square().sum(1) * seen.square().sum(1)).mean())
        yield row


def _energy(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean())


def all_nets(
    plain: Sequence[int] = (1, 2, 3, 4, 5, 6), residual: Sequence[int] = (8, 16, 32, 64)
) -> list[Net]:
    """Return the nets that predictions are about."""
    deep = max(residual)
    return [
        Net("plain", residual=False, normalised=False, depths=tuple(plain)),
        Net("plain with BN", residual=False, normalised=True, depths=tuple(plain)),
        Net("residual", residual=True, normalised=False, depths=tuple(plain)),
        Net("residual with BN", residual=True, normalised=True, depths=tuple(residual)),
        Net(
            "residual, branches scaled by 0.9^l",
            residual=True,
            normalised=False,
            depths=(deep,),
            scales=tuple(0.9**layer for layer in range(1, deep + 1)),
        ),
    ]
