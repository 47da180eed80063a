"""A weight's own computation is on no path: parametrised networks have the units of plain ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_networks import pictures, seeded
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gradflow import find_units
from gradflow.units.explaining import Explanation

Parametrise = Callable[[nn.Module], nn.Module]

PARAMETRISATIONS: dict[str, Parametrise] = {
    "spectral": parametrizations.spectral_norm,
    "weight": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
    "orthogonal by Householder": lambda module: parametrizations.orthogonal(
        module, orthogonal_map="householder"
    ),
    "orthogonal by Cayley": lambda module: parametrizations.orthogonal(module, orthogonal_map="cayley"),
    "spectral, of old": nn.utils.spectral_norm,
    "weight, of old": nn.utils.weight_norm,
}


class Block(nn.Module):
    """A pre-activation unit of SNGAN's discriminator, with a 1×1 convolution on the shortcut.

    Args:
        parametrise: makes a layer's weight a function of other parameters.
        channels: in and out.
    """

    def __init__(self, parametrise: Parametrise, *channels: int) -> None:
        super().__init__()
        self.first = parametrise(nn.Conv2d(*channels, 3, padding=1))
        self.second = parametrise(nn.Conv2d(channels[1], channels[1], 3, padding=1))
        self.shortcut = parametrise(nn.Conv2d(*channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(torch.relu(x)))) + self.shortcut(x)


class Discriminator(nn.Module):
    """Two blocks, and a unit of linear maps."""

    def __init__(self, parametrise: Parametrise) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            nn.Conv2d(3, 4, 3), Block(parametrise, 4, 4), Block(parametrise, 4, 6), nn.AdaptiveAvgPool2d(1)
        )
        self.up = parametrise(nn.Linear(6, 6, bias=False))
        self.down = parametrise(nn.Linear(6, 6, bias=False))
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(images).flatten(1)
        return self.head(x + self.down(torch.relu(self.up(x))))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("name", PARAMETRISATIONS)
def test_parametrised_networks_have_the_units_of_plain_ones(name: str) -> None:
    """Kinds, what is said of the paths, and whose the parameters are, are as without."""
    plain = find_units(seeded(lambda: Discriminator(lambda module: module)), pictures())
    found = find_units(seeded(lambda: Discriminator(PARAMETRISATIONS[name])), pictures())
    assert [unit.shortcut for unit in found] == ["projection", "projection", "identity"]
    assert all(".parametrizations." in over.name for over in found.passed_over)
    assert [said(unit.explanation) for unit in found] == [said(unit.explanation) for unit in plain]
    for unit in found[:2]:
        assert unit.shortcut_parameters
        assert all(".shortcut." in parameter for parameter in unit.shortcut_parameters)
        assert not any(".shortcut." in parameter for parameter in unit.branch_parameters)


def said(explanation: Explanation | None) -> list[str]:
    """Return the operations on both paths, in words, without the number of parameters."""
    assert explanation is not None
    return [path.partition(";")[0] for path in (explanation.shortcut, explanation.branch)]
