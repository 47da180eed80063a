"""The quick walk finds what torch's own generators find."""

from __future__ import annotations

import cases
from torch import nn

from gradflow.units.traversal import named_modules, named_parameters


class Shared(nn.Module):
    """A module and a parameter under two names each, an absent child, and an absent parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU())
        self.absent = None
        self.register_module("missing", None)
        self.again = self.first
        self.tied = nn.Linear(2, 2)
        self.tied.weight = self.first[0].weight


def assert_as_torch(model: nn.Module) -> None:
    """Hold names, order and objects against torch's."""
    for mine, theirs in (
        (named_modules(model), dict(model.named_modules())),
        (named_parameters(model), dict(model.named_parameters())),
    ):
        assert list(mine) == list(theirs)
        assert all(mine[name] is theirs[name] for name in theirs)


def test_shared_and_absent_parts() -> None:
    """What is there twice is named once, by its first name; what is absent is left out."""
    assert_as_torch(Shared())


@cases.each(cases.TORCHVISION)
def test_networks_from_elsewhere(case: cases.Case) -> None:
    """On networks that nobody here wrote, too."""
    assert_as_torch(case.build())
