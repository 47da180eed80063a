"""The one network class of the zoo: a stem, three stages of residual units, a head."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from gradflow.models.activations import ORDERINGS, activation
from gradflow.models.shortcuts import Gate, ShortcutVariant
from gradflow.models.specification import ModelSpec
from gradflow.models.unit import Unit, convolutions


class ResidualNetwork(nn.Module):
    """A residual or plain network for small images (He et al. 2016, arXiv:1603.05027).

    Its modules are `stem`, `stage1` to `stage3` (sequences of `Unit`), `final_activation`
    (the extra BN and ReLU after a pre-activation network's last addition; else the
    identity) and `head`; the head's input is averaged over all pixels. Any image size
    and memory format will do.

    Args:
        spec: every choice that makes the network. The seed is not used here: a network made
            by calling this class has torch's own initial weights, and `build_model` the paper's.
    """

    stage1: nn.Sequential
    stage2: nn.Sequential
    stage3: nn.Sequential

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        ordering = ORDERINGS[spec.activation]
        variant = ShortcutVariant.parse(spec.shortcut)
        stem = nn.Conv2d(spec.in_channels, spec.width, 3, padding=1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=stem))
        if ordering.stem:
            self.stem.add_module("activation", activation(ordering.stem, spec.width))
        channels = spec.width
        for stage in range(3):
            units: list[Unit] = []
            for position in range(spec.units_per_stage):
                stride = 2 if stage > 0 and position == 0 else 1
                layers = convolutions(spec.unit, channels, spec.width * 2**stage, stride)
                units.append(
                    Unit(
                        layers,
                        ordering,
                        variant,
                        first_in_stage=position == 0,
                        projected=spec.unit == "bottleneck",
                    )
                )
                channels = layers[-1].out_channels
            self.add_module(f"stage{stage + 1}", nn.Sequential(*units))
        self.final_activation = activation(ordering.before, channels)
        self.head = nn.Linear(channels, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.stem(images)
        for stage in (self.stage1, self.stage2, self.stage3):
            x = stage(x)
        x = self.final_activation(x)
        return self.head(x.mean(dim=(2, 3)))  # type: ignore[no-any-return] # nn.Module's call is untyped

    def __repr__(self) -> str:
        spec = self.spec
        parameters = sum(parameter.numel() for parameter in self.parameters())
        widths = [self.head.in_features // 4, self.head.in_features // 2, self.head.in_features]
        return (
            f"{type(self).__name__}({spec.name}: 3 stages of {spec.units_per_stage} {spec.unit} units, "
            f"{'/'.join(map(str, widths))} channels, shortcut {spec.shortcut}, "
            f"activation {spec.activation}, {spec.num_classes} classes, {parameters:,} parameters)"
        )


def initialise(model: ResidualNetwork, seed: int) -> None:
    """Draw the initial weights: the same bits for the same seed, on any number of threads.

    Convolutions, gates' and projections' included, are drawn from N(0, 2/(k_w k_h n_out))
    (He's fan-out rule, as in the authors' published code); BN starts at weight 1 and
    bias 0; a gate's bias at b_g; the linear layer's weights, as in that code, from
    U(±1/√n_in), its bias at 0. What stands on the shortcuts is drawn last, so variants of
    one network have the same branches for the same seed, and differ in what they are about.
    The random state of the process is not used.

    Args:
        model: the network, whose weights may be uninitialised memory.
        seed: of the generator that all weights come from.
    """
    generator = torch.Generator().manual_seed(seed)
    modules = sorted(model.named_modules(), key=lambda item: _stands_on_shortcut(item[0]))
    with torch.no_grad():
        for _, module in modules:
            match module:
                case nn.Conv2d():
                    fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                    module.weight.normal_(0.0, (2.0 / fan_out) ** 0.5, generator=generator)
                case nn.BatchNorm2d():
                    module.reset_parameters()
                case nn.Linear():
                    bound = module.in_features**-0.5
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.zero_()
        for _, module in modules:
            if isinstance(module, Gate):
                module.start_bias()


def _stands_on_shortcut(name: str) -> bool:
    return not {"shortcut", "gate"}.isdisjoint(name.split("."))
