"""The one residual unit that every network of the zoo is made of.

y = h(x) + F(x), x' = f(y) (He et al. 2016, arXiv:1603.05027, equations 1 and 2). Basic,
bottleneck and one-layer units differ in the list of convolutions, the activations of
Table 2 in an `Ordering`, the shortcuts of Table 1 in h.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from gradflow.models.activations import Ordering, activation, layer
from gradflow.models.shortcuts import Gate, Padding, Scale, ShortcutVariant, make_shortcut, projection

EXPANSION = 4
"""A bottleneck's last 1×1 convolution has four times the channels of its 3×3."""


@dataclass(frozen=True)
class Convolution:
    """One convolution of a branch, without bias; 3×3 ones are padded by 1."""

    kernel: int
    in_channels: int
    out_channels: int
    stride: int = 1

    def build(self) -> nn.Conv2d:
        """Return the layer."""
        return nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel,
            self.stride,
            padding=self.kernel // 2,
            bias=False,
        )


def convolutions(unit: str, in_channels: int, width: int, stride: int) -> list[Convolution]:
    """Return the convolutions of a `single`, `basic` or `bottleneck` unit; the first has the stride."""
    if unit == "bottleneck":
        return [
            Convolution(1, in_channels, width, stride),
            Convolution(3, width, width),
            Convolution(1, width, EXPANSION * width),
        ]
    first = Convolution(3, in_channels, width, stride)
    return [first] if unit == "single" else [first, Convolution(3, width, width)]


class GatedBranch(nn.Sequential):
    """g(x) F(x), the residual function times an exclusive gate; without one a branch is its layers alone."""

    def forward(self, x: Tensor, g: Tensor | None = None) -> Tensor:
        """Return F(x), times the gate `g` if there is one."""
        out: Tensor = super().forward(x)  # type: ignore[no-untyped-call] # torch does not annotate it
        return out if g is None else g * out


class Unit(nn.Module):
    """A residual unit: ``post_activation(shortcut(x) + branch(x))``, x being ``pre_activation(input)``.

    `shortcut` and `branch` are modules whose inputs and outputs nothing changes in place, so
    forward hooks and full backward hooks on them see x, h(x), F(x) and their gradients.
    `pre_activation` is the identity except in the first unit of a pre-activation stage, where
    the activated signal is what splits into the two paths. `shortcut` is None in a plain
    network, `gate` is None but for exclusive gating.

    Args:
        layers: the branch's convolutions.
        ordering: where BN and ReLU stand.
        variant: the shortcut's case of Table 1.
        first_in_stage: whether the activation comes before the split.
        projected: whether a change of shape is a 1×1 convolution rather than zero padding.
    """

    def __init__(
        self,
        layers: list[Convolution],
        ordering: Ordering,
        variant: ShortcutVariant,
        *,
        first_in_stage: bool,
        projected: bool,
    ) -> None:
        super().__init__()
        in_channels, out_channels = layers[0].in_channels, layers[-1].out_channels
        stride = layers[0].stride
        transition: nn.Module = nn.Identity()
        if (in_channels, stride) != (out_channels, 1):
            transition = (
                projection(in_channels, out_channels, stride, normalised=not ordering.preactivates)
                if projected
                else Padding(in_channels, out_channels, stride)
            )
        self.pre_activation = activation(ordering.before if first_in_stage else (), in_channels)
        self.gate = (
            Gate(in_channels, out_channels, stride, variant.bias)
            if variant.kind == "gate:exclusive"
            else None
        )
        self.shortcut = make_shortcut(variant, transition, in_channels, out_channels, stride)
        modules = _branch(layers, ordering, headless=first_in_stage, scale=variant.branch_scale)
        self.branch = (nn.Sequential if self.gate is None else GatedBranch)(modules)
        self.post_activation = activation(ordering.final, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        x = self.pre_activation(x)
        out: Tensor
        if self.shortcut is None:
            out = self.branch(x)
        elif self.gate is None:
            out = self.shortcut(x) + self.branch(x)
        else:
            g = self.gate(x)
            out = self.shortcut(x, g) + self.branch(x, g)
        return self.post_activation(out)  # type: ignore[no-any-return] # nn.Module's call is untyped


def _branch(
    layers: list[Convolution], ordering: Ordering, *, headless: bool, scale: float | None
) -> OrderedDict[str, nn.Module]:
    """Return the layers of F: convolutions with BN and ReLU between them, one after the other.

    `headless` leaves out the activation before its first convolution.

    A BN is numbered as the convolution that it precedes where the ordering has one before the
    first convolution, else as the one that it follows; ReLU likewise.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()

    def add(step: str, channels: int, convolution_before: int) -> None:
        number = convolution_before + (step in ordering.before)
        modules[f"{step}{number}"] = layer(step, channels)

    for index, convolution in enumerate(layers):
        if index > 0 or not headless:
            for step in ordering.before if index == 0 else ("bn", "relu"):
                add(step, convolution.in_channels, index)
        modules[f"conv{index + 1}"] = convolution.build()
    for step in ordering.after:
        add(step, layers[-1].out_channels, len(layers))
    if scale is not None:
        modules["scale"] = Scale(scale)
    return modules
