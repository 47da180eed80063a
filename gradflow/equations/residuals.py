"""What is left of a statement, the residual, and what it has to be compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Sizes = NDArray[np.float64]
"""Norms: one number, or one a sample."""


@dataclass(frozen=True)
class Norms:
    """Takes norms of tensors in float64: of the whole batch, or sample by sample."""

    per_sample: bool = False

    def __call__(self, value: Tensor) -> Sizes:
        """Return ‖value‖, shape (1,), or of each sample, shape (batch,)."""
        rows = value.flatten(1) if self.per_sample else value
        norm = torch.linalg.vector_norm(rows, dim=1 if self.per_sample else None)
        return np.atleast_1d(norm.cpu().numpy())


@dataclass(frozen=True)
class Residual:
    """How far a statement is off, and what that has to be compared with.

    Attributes:
        norm: ‖left − right‖, of the batch or of each sample; not finite if a term is not.
        scale: Σ of the norms of the terms that enter, as far as the shortcuts carry them.
        smallest: the norm of the smallest term, as the shortcuts and masks behind it leave it in the end.
    """

    norm: Sizes
    scale: Sizes
    smallest: Sizes

    @property
    def finite(self) -> bool:
        """Whether every term is a number."""
        return bool(np.isfinite(self.norm).all() and np.isfinite(self.scale).all())

    @property
    def nothing(self) -> bool:
        """Whether every term is zero, and so is what is left: then nothing was compared."""
        return self.finite and not self.scale.any() and not self.norm.any()

    @property
    def empty(self) -> int:
        """How many samples are zero in every term, so that there is nothing to compare in them."""
        return int((self.scale == 0).sum())

    @property
    def error(self) -> float | None:
        """The largest ‖residual‖ / scale, over the samples of which a term is not zero.

        None if a term is not finite, every term is zero, or something is left where every term is.
        """
        if not self.finite or self.nothing:
            return None
        empty = self.scale == 0
        if (self.norm[empty] > 0).any():
            return None
        return float(np.max(self.norm / np.where(empty, 1.0, self.scale)))

    def detectable(self, tolerance: float) -> float | None:
        """Return a relative change ε of any one term from which on the check fails for certain.

        A term that is c in the end, off by ε, adds a vector of norm ε c to a residual r, so what is
        left is at least ε c − r. The term also enters the scale S, which it raises by ε S at most.
        The check fails where ε c − r > t (S + ε S), and that is ε > (t S + r) / (c − t S) for
        the tolerance t. It is least for the smallest c.

        None if no change of a term is certain to be seen: one is zero, or smaller than what rounding
        explains.
        """
        if self.error is None or not np.isfinite(self.smallest).all():
            return None
        explained = tolerance * self.scale
        if not (self.smallest > explained).all():
            return None
        return float(np.max((explained + self.norm) / (self.smallest - explained)))
