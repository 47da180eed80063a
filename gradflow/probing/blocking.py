"""Sending a gradient back along chosen paths: through F in some units, through h in all others.

Veit et al. 2016 (arXiv:1605.06431), section 4: the forward pass is the whole network's, and in
the backward pass each unit's addition hands its gradient to one of its two operands only. By
linearity the gradients along all 2ⁿ paths add up to ∂E/∂x_0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from gradflow.errors import ProbeError
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.probing.loss import Loss
from gradflow.probing.traced import traced_forward
from gradflow.units import Inputs, UnitSelection
from gradflow.units.eager import eager
from gradflow.units.tracing import Bystander, TracedUnit

Gradients = tuple[Tensor | None, ...]


@dataclass(eq=False)
class Paths:
    """The paths of one forward pass; valid inside `paths_through`.

    Attributes:
        units: the units, in order of execution; each has a shortcut.
        loss: E, the value that is differentiated.
        handling: how batch normalisation ran.
    """

    units: list[TracedUnit]
    loss: Tensor
    handling: BatchNormHandling

    def gradient(self, through: Collection[int]) -> Tensor:
        """Return ∂E/∂x_0 along the one path that takes F in the units `through`, and h in all others.

        One backward pass, in which a branch costs nothing where the path does not take it.
        """
        with ExitStack() as stack:
            for unit in self.units:
                assert unit.split is not None, "`paths_through` refuses units without shortcut"
                shortcut = unit.split.shortcut_operand
                hook = partial(hand_on_to, 1 - shortcut if unit.index in through else shortcut)
                stack.callback(unit.total.node.register_hook(hook).remove)
            return self.whole_gradient()

    def whole_gradient(self) -> Tensor:
        """Return ∂E/∂x_0 along all paths together."""
        fork = self.units[0].fork
        with self.handling.recomputing():
            found: Gradients = torch.autograd.grad(
                [self.loss], [GradientEdge(fork.node, fork.output)], retain_graph=True, allow_unused=True
            )
        # A path may end in an operand that does not depend on x_0, such as a frozen one.
        return torch.zeros(fork.shape, device=self.loss.device) if found[0] is None else found[0]


@contextmanager
def paths_through(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
) -> Iterator[Paths]:
    """Run the forward pass and keep its graph while the context is open.

    The model is left as it was when the context closes, also after an exception.

    Args:
        model: any network with residual units.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.

    Raises:
        ProbeError: if a unit has no shortcut.
    """
    with traced_forward(eager(model), inputs, targets, Bystander(), loss=loss, bn=bn, units=units) as forward:
        found = forward.tracer.units
        forward.tracer.forget_graph()
        without = [unit.name for unit in found if unit.split is None]
        if without:
            raise ProbeError(
                f"unit {without[0]} has no shortcut, so there is only one path through it; "
                "paths are those of networks whose units all have one"
            )
        yield Paths(found, forward.value, forward.handling)


def hand_on_to(
    operand: int | None,
    grad_inputs: Gradients,
    grad_outputs: Gradients,  # noqa: ARG001 - torch passes it
) -> Gradients:
    """Let through what an addition hands to one operand, and nothing else; to none for None."""
    return tuple(part if index == operand else None for index, part in enumerate(grad_inputs))
