"""Holding the probe's numbers to the oracle's."""

from __future__ import annotations

import pandas as pd
from torch import Tensor, nn

from gradflow.probing import oracle, probe
from gradflow.record.schema import UNITS
from gradflow.tolerances import oracle_agreement, sum_of_terms
from gradflow.units import Inputs

SAME = {
    "unit",
    "name",
    "stage",
    "shortcut",
    "post_activation",
    "batch",
    "numel",
    "span_end",
    "zero_samples",
    "zero_branch_samples",
}
"""Columns that are not measured with rounding."""

ONLY_ONE_HAS = {
    "iteration",
    "seed",
    "batch_index",
    "nonfinite",
    "additivity_error",
    "branch_start",
    "branch_end",
    "head_start",
    "dropped_samples",
}
"""Keys; and what the oracle has nothing to say about."""


def tolerance(model: nn.Module, dtype: str | None = None) -> float:
    """Return how far the two may be apart, from the depth and the widest layer of `model`.

    Args:
        model: the network.
        dtype: of its least precise operation; None takes that of its weights.
    """
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    reduction = max(weight.numel() // min(weight.shape[:2]) for weight in weights)
    dtype = dtype or str(weights[0].dtype).removeprefix("torch.")
    return oracle_agreement(dtype, len(weights), reduction)


def assert_agree(measured: pd.DataFrame, expected: pd.DataFrame, allowed: float) -> None:
    """Insist on equal nulls, and on numbers equal to `allowed` relative to what they are made of.

    A cosine is a part of 1. ρ and survival are made of ‖s‖², ‖b‖² and ‖s + b‖² over ‖s‖², none of
    which is above (1 + survival)². A norm is a part of itself; what comes from outside a unit is
    had by subtraction in the oracle, so it is a part of the whole.
    """
    for column in (column.name for column in UNITS):
        mine, theirs = measured[column], expected[column]
        if column in ONLY_ONE_HAS:
            continue
        if column == "grad_other_norm":  # the oracle takes it from the whole, so it needs the whole
            mine = mine.where(expected["grad_in_norm"].notna())
        assert mine.isna().tolist() == theirs.isna().tolist(), column
        if column in SAME:
            assert mine.tolist() == theirs.tolist(), column
            continue
        scale = theirs.abs()
        prefix = column.rpartition("_")[0]
        if column.endswith("_cosine"):
            scale = scale * 0 + 1
        elif prefix.endswith(("cancellation", "survival")):
            survival = prefix.replace("cancellation", "survival")
            scale = (1 + expected[f"{survival}_max"]) ** 2
        elif column == "grad_other_norm":
            scale = expected["grad_in_norm"]
        error = ((mine - theirs).abs() / scale.where(scale > 0, 1.0)).max()
        assert not error > allowed, f"{column} is off by {error:.1e}, allowed are {allowed:.1e}"


def both(
    model: nn.Module, inputs: Inputs, targets: Tensor | None, *, dtype: str | None = None, **options
) -> None:
    """Measure in both ways and insist that they agree.

    Args:
        model: the network.
        inputs: as for `probe`.
        targets: as for `probe`.
        dtype: as for `tolerance`.
        **options: as for `probe`.
    """
    measured = probe(model, inputs, targets, **options).units
    expected = oracle(model, inputs, targets, **options)
    assert_agree(measured, expected, tolerance(model, dtype))
    rounding = sum_of_terms(dtype or str(next(model.parameters()).dtype).removeprefix("torch."), 2)
    reached = measured["grad_in_norm"] > 0
    assert (measured["additivity_error"][reached].fillna(0) <= rounding).all()
