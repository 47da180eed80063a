"""The asymmetric writing of a pre-activation network: equation 9, on the same weights.

He et al. 2016 (arXiv:1603.05027), section 4 and figure 5: an activation f̂ that stands behind
the addition and acts on the branch of the next unit alone, x_{l+1} = x_l + F(f̂(x_l)), is a
pre-activation network with its units cut at another place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from torch import Tensor, nn

from gradflow.errors import UnknownModelError
from gradflow.models.activations import ORDERINGS
from gradflow.models.network import ResidualNetwork
from gradflow.models.unit import GatedBranch, Unit


class AsymmetricUnit(nn.Module):
    """One unit of figure 5 (b): weights, addition, and then f̂ for the next unit's branch.

    Args:
        unit: the pre-activation unit whose modules are shared.
        activation: f̂ behind this unit's addition: the next unit's pre-activation.
        carries_activated: whether the shortcut, too, takes the activated signal, as in the first
            unit of a stage.
    """

    def __init__(self, unit: Unit, activation: nn.Module, *, carries_activated: bool) -> None:
        super().__init__()
        self.shortcut = unit.shortcut
        self.gate = unit.gate
        head = dict(_head(unit.branch))
        children = unit.branch.named_children()
        kind = nn.Sequential if unit.gate is None else GatedBranch
        self.branch = kind(OrderedDict((name, child) for name, child in children if name not in head))
        self.activation = activation
        self.carries_activated = carries_activated

    def forward(self, x: Tensor, activated: Tensor) -> tuple[Tensor, Tensor]:
        """Map x_l and f̂(x_l) to x_{l+1} and f̂(x_{l+1})."""
        if self.carries_activated:
            x = activated
        assert self.shortcut is not None, "a pre-activation network of the zoo has shortcuts or is refused"
        out: Tensor
        if self.gate is None:
            out = self.shortcut(x) + self.branch(activated)
        else:
            g = self.gate(x)
            out = self.shortcut(x, g) + self.branch(activated, g)
        return out, self.activation(out)


class AsymmetricNetwork(nn.Module):
    """A pre-activation network of the zoo in the asymmetric writing, sharing its modules.

    Args:
        network: the pre-activation network.

    Raises:
        UnknownModelError: if the network is no pre-activation network with shortcuts.
    """

    def __init__(self, network: ResidualNetwork) -> None:
        super().__init__()
        if not has_asymmetric_writing(network):
            raise UnknownModelError(
                f"{network.spec.options()} has no asymmetric writing; expected a pre-activation network "
                "with shortcuts, such as preact164"
            )
        stages = (network.stage1, network.stage2, network.stage3)
        units = [unit for stage in stages for unit in stage if isinstance(unit, Unit)]
        firsts = {id(stage[0]) for stage in stages}
        heads = [
            unit.pre_activation if id(unit) in firsts else nn.Sequential(OrderedDict(_head(unit.branch)))
            for unit in units
        ]
        self.stem = network.stem
        self.first_activation = heads[0]
        self.units = nn.ModuleList(
            AsymmetricUnit(unit, activation, carries_activated=id(unit) in firsts)
            for unit, activation in zip(units, [*heads[1:], network.final_activation], strict=True)
        )
        self.head = network.head

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, in_channels, H, W) to logits (batch, num_classes)."""
        x = self.stem(images)
        activated = self.first_activation(x)
        for unit in self.units:
            x, activated = unit(x, activated)
        return self.head(activated.mean(dim=(2, 3)))  # type: ignore[no-any-return] # as in ResidualNetwork


def has_asymmetric_writing(network: nn.Module) -> bool:
    """Whether `network` is a pre-activation network of the zoo, which eq. 9 is about."""
    if not isinstance(network, ResidualNetwork):
        return False
    return ORDERINGS[network.spec.activation].preactivates and network.spec.shortcut != "none"


def _head(branch: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield what stands before a branch's first convolution."""
    for name, module in branch.named_children():
        if isinstance(module, nn.Conv2d):
            return
        yield name, module
