"""Shortcuts h of a residual unit: the transition to a new shape, and the variants of Table 1.

He et al. 2016 (arXiv:1603.05027), section 3.1 and figure 2. A variant stands behind the
transition's projection or padding, and in every unit of the network.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from gradflow.errors import UnknownModelError

FORMS = (
    "identity, none, conv, scale:0.5, scale:0.5,0.5, gate:exclusive,-6, gate:shortcut,-6, "
    "dropout:0.5 or dropout:0.5,unscaled"
)


@dataclass(frozen=True)
class ShortcutVariant:
    """One case of Table 1.

    Attributes:
        kind: identity, none, conv, scale, gate:exclusive, gate:shortcut or dropout.
        scale: λ on the shortcut (`scale`).
        branch_scale: factor on F (`scale`); None leaves F alone.
        bias: b_g, where the gate's bias starts (`gate:…`).
        probability: of an element to be dropped (`dropout`).
        rescaled: whether kept elements are divided by 1 − p, as torch does. The paper's dropout
            is unscaled, with an expected λ of 1 − p.
    """

    kind: str
    scale: float = 1.0
    branch_scale: float | None = None
    bias: float = 0.0
    probability: float = 0.0
    rescaled: bool = True

    @classmethod
    def parse(cls, text: str) -> ShortcutVariant:
        """Read what `--shortcut` takes.

        Raises:
            UnknownModelError: if `text` is none of the forms, which the message lists.
        """
        kind, colon, rest = text.partition(":")
        values = rest.split(",") if colon else []
        try:
            match kind, values:
                case (("identity" | "none" | "conv"), []):
                    return cls(kind)
                case "scale", [scale]:
                    return cls("scale", scale=_finite(scale))
                case "scale", [scale, branch]:
                    return cls("scale", scale=_finite(scale), branch_scale=_finite(branch))
                case "gate", [("exclusive" | "shortcut") as where, bias]:
                    return cls(f"gate:{where}", bias=_finite(bias))
                case "dropout", [probability, *unscaled] if (
                    unscaled in ([], ["unscaled"]) and 0 <= float(probability) < 1
                ):
                    return cls("dropout", probability=float(probability), rescaled=not unscaled)
        except ValueError:  # a number that is none: the same message as for any other wrong form
            pass
        raise UnknownModelError(f"unknown shortcut '{text}'; expected {FORMS}")

    def __str__(self) -> str:
        match self.kind:
            case "scale":
                branch = "" if self.branch_scale is None else f",{self.branch_scale:g}"
                return f"scale:{self.scale:g}{branch}"
            case "gate:exclusive" | "gate:shortcut":
                return f"{self.kind},{self.bias:g}"
            case "dropout":
                return f"dropout:{self.probability:g}{'' if self.rescaled else ',unscaled'}"
        return self.kind


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


class Padding(nn.Module):
    """Option A: every stride-th pixel, and zeros for the channels that are new (no parameters)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, H, W) to (batch, out_channels, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))

    def extra_repr(self) -> str:
        """Say what is added."""
        return f"new_channels={self.new_channels}, stride={self.stride}"


class Scale(nn.Module):
    """Multiply by a constant: λ of equation 6."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return `factor` times x."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Say the factor."""
        return f"{self.factor:g}"


class UnscaledDropout(nn.Module):
    """Set elements to zero with probability p and leave the others as they are: mean gain 1 − p.

    This is the paper's dropout; `torch.nn.Dropout` divides by 1 − p, mean gain 1. In eval
    mode x is multiplied by 1 − p, the mean of what training does.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x."""
        keep = 1 - self.probability
        if not self.training:
            return x * keep
        return x * x.new_empty(x.shape).bernoulli_(keep)

    def extra_repr(self) -> str:
        """Say the probability."""
        return f"p={self.probability:g}"


class Gate(nn.Module):
    """g(x) = σ(W_g x + b_g), W_g a 1×1 convolution with the unit's stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, bias: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, stride)
        self.initial_bias = bias

    def start_bias(self) -> None:
        """Set b_g to where it starts."""
        assert self.conv.bias is not None
        nn.init.constant_(self.conv.bias, self.initial_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return g(x), in the shape of the unit's output, between 0 and 1."""
        logits: Tensor = self.conv(x)
        return logits.sigmoid()


class GatedShortcut(nn.Module):
    """h(x) = (1 − g(x)) · transition(x).

    Shortcut-only gating has its gate in here. Exclusive gating passes in the g(x) that
    stands on the branch too, so that it is computed once.
    """

    def __init__(self, transition: nn.Module, gate: Gate | None) -> None:
        super().__init__()
        self.transition = transition
        self.gate = gate

    def forward(self, x: Tensor, g: Tensor | None = None) -> Tensor:
        """Return h(x); `g` is the unit's gate if it has one."""
        if g is None:
            assert self.gate is not None
            g = self.gate(x)
        carried: Tensor = self.transition(x)
        return (1 - g) * carried


def projection(in_channels: int, out_channels: int, stride: int, *, normalised: bool) -> nn.Module:
    """Return a strided 1×1 convolution, with BN behind it if `normalised`."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    )
    if normalised:
        layers["bn"] = nn.BatchNorm2d(out_channels)
    return nn.Sequential(layers)


def make_shortcut(
    variant: ShortcutVariant, transition: nn.Module, in_channels: int, out_channels: int, stride: int
) -> nn.Module | None:
    """Return h: `transition`, then what `variant` puts behind it; None if there is no shortcut.

    Args:
        variant: case of Table 1.
        transition: from the unit's input to the shape of its output; `nn.Identity` if they are equal.
        in_channels: channels of the unit's input.
        out_channels: channels of its output.
        stride: of the unit.
    """
    match variant.kind:
        case "none":
            return None
        case "gate:exclusive":
            return GatedShortcut(transition, None)
        case "gate:shortcut":
            return GatedShortcut(transition, Gate(in_channels, out_channels, stride, variant.bias))
        case "conv":
            behind = projection(out_channels, out_channels, 1, normalised=True)
        case "scale":
            behind = Scale(variant.scale)
        case "dropout":
            behind = (nn.Dropout if variant.rescaled else UnscaledDropout)(variant.probability)
        case _:
            return transition
    if isinstance(transition, nn.Identity):
        return behind
    return nn.Sequential(OrderedDict([("transition", transition), (variant.kind, behind)]))
