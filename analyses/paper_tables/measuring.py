"""One seed of one case: every unit's gradient and shares; and the equations, off or on."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from gradflow import check, probe
from gradflow.determinism import seeded
from gradflow.models import build_model
from gradflow.statistics import with_shares
from paper_tables.cases import Case

_COLUMNS = (
    *("unit", "stage", "shortcut", "post_activation", "grad_in_norm", "grad_out_norm", "backward_gain"),
    *("backward_shortcut_share", "forward_branch_share", "branch_norm", "sum_norm"),
)
EQUATIONS = ("4", "5", "7", "8")


def build(case: Case, seed: int) -> nn.Module:
    """Return the untrained network of `case`."""
    return build_model(case.model, seed=seed, shortcut=case.shortcut, activation=case.activation)


def measure_units(case: Case, inputs: Tensor, targets: Tensor, seed: int) -> pd.DataFrame:
    """Return what a probe of one seed shows of every unit, in float64 for networks without shortcut.

    Their gradients may leave float32's range.

    Args:
        case: the network.
        inputs: images (batch, 3, height, width).
        targets: labels (batch,).
        seed: of weights and masks.
    """
    plain = case.shortcut == "none"
    dtype = torch.float64 if plain else torch.float32
    model = build(case, seed).to(dtype=dtype, memory_format=torch.channels_last)
    inputs = inputs.to(dtype=dtype, memory_format=torch.channels_last)
    with seeded(seed):
        record = probe(model, inputs, targets, units=r"stage\d\.\d+" if plain else None)
    return (
        with_shares(record.units)[list(_COLUMNS)]
        .assign(shortcut_kind=record.units["shortcut"])
        .drop(columns="shortcut")
    )


def measure_checks(case: Case, inputs: Tensor, targets: Tensor, seed: int) -> pd.DataFrame:
    """Return the checks of equations 4, 5, 7 and 8 in float64, on every span of the default ones.

    Args:
        case: the network.
        inputs: images (batch, 3, height, width).
        targets: labels (batch,).
        seed: of weights and masks.
    """
    with seeded(seed):
        record = check(
            build(case, seed).double(),
            inputs.double(),
            targets,
            equations=EQUATIONS,
            dtypes=[torch.float64],
            units=r"stage\d\.\d+" if case.shortcut == "none" else None,
        )
    return record.checks
