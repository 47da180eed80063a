"""Which samples a branch was dropped for, as stochastic depth does: by a factor of 0 behind its weights."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.operations import operation
from gradflow.units.path_words import branch_tail, is_by_constant
from gradflow.units.tracing import TracedUnit


def find_dropped(unit: TracedUnit, batch: int) -> Tensor | None:
    """Return 1 for each sample of which F(x_l) is multiplied by 0 behind the branch's last weight, else 0.

    To be asked in the forward pass. Masks that differ within a sample, as those of ordinary dropout, are
    not looked at.

    Args:
        unit: the unit.
        batch: samples in the batch.

    Returns:
        shape (batch,), in float64; None where such a factor is there and cannot be read, because activation
        checkpointing or the like has put it elsewhere.
    """
    dropped = _none(batch)
    if unit.split is None:
        return dropped
    factors = [node for node in branch_tail(unit) if is_by_constant(node)]
    if not factors:
        return dropped
    if unit.packed:
        return None
    for node in factors:
        factor = _constant(node)
        if factor.ndim == 0 and factor.is_cpu and factor != 0:
            continue  # a number, as most are: nothing for the device to do
        if factor.numel() == 1 or (factor.numel() == batch and factor.shape[0] == batch):
            dropped = torch.maximum(dropped.to(factor.device), (factor.detach().reshape(-1) == 0).double())
    return dropped


@lru_cache(maxsize=8)
def _none(batch: int) -> Tensor:
    """Return zeros, the same tensor for all units: it is made once and never written to."""
    return torch.zeros(batch, dtype=torch.float64, device="cpu")


def _constant(node: Node) -> Tensor:
    """Return what `node` multiplies by; of a division one that is not 0."""
    if operation(node) == "Div":
        return torch.ones(())
    first, _ = node.next_functions[0]
    factor = node._saved_self if first is None else node._saved_other  # type: ignore[attr-defined] # noqa: SLF001
    return torch.as_tensor(factor)
