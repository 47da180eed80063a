"""The tensors of a run, in the dtype in which residuals are evaluated, and what is told of them once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from gradflow.equations.adjoints import Adjoint, shortcut_adjoint
from gradflow.equations.held import Held, held_shortcut
from gradflow.equations.residuals import Norms, Sizes
from gradflow.probing.capture import Capture
from gradflow.units.finding import stages


@dataclass(eq=False)
class Tensors:
    """The captured tensors in float64, in which residuals are evaluated, and their norms.

    Args:
        capture: the tensors of a run.
        norms: takes the norms.
        dtype: name of the dtype in which the passes ran.
    """

    capture: Capture
    norms: Norms
    dtype: str
    _sizes: dict[int, tuple[Tensor, Sizes]] = field(default_factory=dict)
    _held: dict[int, Held | None] = field(default_factory=dict)
    _adjoints: dict[int, Adjoint | None] = field(default_factory=dict)

    @cached_property
    def stages(self) -> list[int]:
        """The stage of each unit."""
        return stages(self.capture.units)

    def layers(self, first: int, end: int) -> tuple[int, int]:
        """Return the most weight layers of a branch, and the longest reduction of one of them.

        A weight of shape (out, in, …) reduces over all but its first dimension forward, and
        over all but its second backward.
        """
        branches = [unit.branch_parameters for unit in self.capture.units[first:end]]
        weights = [[parameter for parameter in branch if parameter.ndim > 1] for branch in branches]
        lengths = [weight.numel() // min(weight.shape[:2]) for branch in weights for weight in branch]
        return max(1, *(len(branch) for branch in weights)), max([1, *lengths])

    def wide(self, tensor: Tensor | None) -> Tensor | None:
        """Return `tensor` in float64; itself if it is."""
        return None if tensor is None else tensor.detach().double()

    def size(self, tensor: Tensor) -> Sizes:
        """Return the norm of a captured tensor, taken once."""
        known = self._sizes.get(id(tensor))
        if known is None:
            known = self._sizes[id(tensor)] = tensor, self.norms(tensor.detach().double())
        return known[1]

    def held(self, unit: int) -> Held | None:
        """Return h of a unit with all else held, once."""
        if unit not in self._held:
            self._held[unit] = held_shortcut(self.capture.units[unit], torch.float64)
        return self._held[unit]

    def adjoint(self, unit: int) -> Adjoint | None:
        """Return h′ of a unit transposed, once."""
        if unit not in self._adjoints:
            self._adjoints[unit] = shortcut_adjoint(self.capture.units[unit], torch.float64)
        return self._adjoints[unit]

    def mask(self, unit: int) -> Tensor | None:
        """Return D of a unit: 1 where y > 0, else 0."""
        total = self.capture.values.get(self.capture.units[unit].total)
        return None if total is None else (total > 0).double()
