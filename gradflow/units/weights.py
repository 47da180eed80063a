"""When a network used each of its weights: what tells a recurrence from depth.

A recurrent cell h_t = h_{t−1} + F(h_{t−1}, x_t) is written as a residual unit is. But its weights
are the ones that made h_{t−1}, and its branch reads another input at each step. Layers that
share their weights and read nothing but x_l are units: such a network is deep, and merely small.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.classification import Split
from gradflow.units.graph import depends_on, order


class WeightUses:
    """The uses of each weight in a forward pass, in order. They are sorted out when they are asked for."""

    def __init__(self) -> None:
        self._new: list[tuple[Sequence[Tensor], Node]] = []
        self._uses: dict[int, list[Node]] = {}  # by identity: torch hashes a tensor in Python

    def note(self, weights: Sequence[Tensor], node: Node) -> None:
        """Remember that `weights` have gone into what `node` made."""
        self._new.append((weights, node))

    def clear(self) -> None:
        """Forget everything."""
        self._new.clear()
        self._uses.clear()

    def recur_in(self, split: Split) -> bool:
        """Whether x_l was itself made with all of the branch's weights."""
        limit = order(split.fork.node)
        weights = [parameter for parameter in split.branch_parameters if parameter.ndim > 1]
        for used, node in self._new:
            for weight in used:
                self._uses.setdefault(id(weight), []).append(node)
        self._new.clear()
        for weight in weights:
            earlier = [node for node in self._uses.get(id(weight), ()) if order(node) <= limit]
            if not earlier or not depends_on(split.fork, earlier[-1]):
                return False
        return bool(weights)
