"""What comes back through k shortcuts alone, and in all, in networks with every kind of shortcut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from gradflow.determinism import seeded
from gradflow.equations import shortcut_gains
from gradflow.models import build_model
from gradflow.theory import shortcuts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One kind of shortcut.

    Attributes:
        shortcut: as `--shortcut` takes it.
        title: as the page names it.
        group: which panel it is drawn in.
        law: the prediction of `theory.LAWS` that is about it.
        furthest: the largest k that the rate is fitted to; k masks leave 2^−k of the elements, and a fit
            takes many. None is all.
    """

    shortcut: str
    title: str
    group: str
    law: str
    furthest: int | None = None

    @property
    def exact(self) -> bool:
        """Whether the gain is λ^k exactly, and not in the mean over masks or inputs."""
        return self.law == "scale_rate"

    def predicted(self, k: Array) -> Array:
        """Return what should come back through k shortcuts; NaN where nothing is predicted."""
        kind, _, rest = self.shortcut.partition(":")
        if kind == "scale":
            return shortcuts.scaled_gain(k, float(rest))
        if kind == "identity":
            return shortcuts.scaled_gain(k, 1.0)
        if kind == "gate":
            return shortcuts.gated_gain(k, float(rest.partition(",")[2]))
        if kind == "dropout":
            probability, _, unscaled = rest.partition(",")
            return shortcuts.dropout_gain(k, float(probability), rescaled=not unscaled)
        return np.full_like(k, np.nan)


_MOST_MASKS = 8

CASES = (
    *(
        Case("identity" if scale == 1 else f"scale:{scale:g}", f"λ = {scale:g}", "scale", "scale_rate")
        for scale in (0.5, 0.9, 1, 1.1)
    ),
    *(
        Case(f"gate:{kind},{bias:g}", f"b_g = {bias:g}".replace("-", "−"), f"gate:{kind}", "gate_rate")
        for kind in ("exclusive", "shortcut")
        for bias in (0, -3, -6)
    ),
    Case("conv", "1×1 convolution", "other", "convolution_rate"),
    Case("dropout:0.5", "dropout ½, rescaled (torch)", "other", "dropout_rate", _MOST_MASKS),
    Case("dropout:0.5,unscaled", "dropout ½, unscaled (paper)", "other", "dropout_rate", _MOST_MASKS),
)


def measure_gains(name: str, case: Case, inputs: Tensor, targets: Tensor, seed: int) -> pd.DataFrame:
    """Return `shortcut_gains` of one seed in float64, on the chains in which nothing follows the addition.

    Args:
        name: a pre-activation network of the zoo.
        case: its shortcuts.
        inputs: images (batch, 3, height, width).
        targets: labels (batch,).
        seed: of weights and masks.
    """
    model = build_model(name, seed=seed, shortcut=case.shortcut).double()
    with seeded(seed):
        gains = shortcut_gains(model, inputs.double(), targets)
    chains = gains[gains["post_activation"] == "identity"]
    return chains.drop(columns=["shortcut", "post_activation", "name"]).reset_index(drop=True)
