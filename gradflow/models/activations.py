"""Where batch normalisation and ReLU stand in a unit: the five cases of Table 2.

He et al. 2016 (arXiv:1603.05027), figure 4. Between two convolutions of a branch all five
have BN and ReLU; they differ in what comes before the first convolution, after the last
one, and after the addition.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Ordering:
    """One case of figure 4: the layers around a unit's convolutions, `bn` or `relu` each.

    Attributes:
        before: at the head of the branch, in front of its first convolution.
        after: at the end of the branch, behind its last convolution.
        final: f, after the addition.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    final: tuple[str, ...] = ()

    @property
    def preactivates(self) -> bool:
        """Whether the activation stands before the weights, and f is the identity."""
        return bool(self.before)

    @property
    def stem(self) -> tuple[str, ...]:
        """What follows the network's first convolution, so that each convolution has its BN and ReLU.

        Moving the activation from behind a unit's addition to the head of the next one (the
        paper's figure 5) leaves at the stem whatever the first unit does not take over.
        """
        return tuple(step for step in ("bn", "relu") if step not in self.before)


ORDERINGS = {
    "original": Ordering(after=("bn",), final=("relu",)),
    "bn-after": Ordering(final=("bn", "relu")),
    "relu-before": Ordering(after=("bn", "relu")),
    "relu-only": Ordering(before=("relu",), after=("bn",)),
    "full-preact": Ordering(before=("bn", "relu")),
}
"""Figure 4 (a) to (e), by the names that `--activation` takes."""


def activation(steps: Sequence[str], channels: int) -> nn.Module:
    """Return BN and ReLU in the order of `steps`; the identity if there is none.

    No ReLU is in place: a hook on the module before it would see its tensor change.
    """
    if not steps:
        return nn.Identity()
    return nn.Sequential(OrderedDict((step, layer(step, channels)) for step in steps))


def layer(step: str, channels: int) -> nn.Module:
    """Return one layer: `bn` over `channels`, or `relu`."""
    return nn.BatchNorm2d(channels) if step == "bn" else nn.ReLU()
