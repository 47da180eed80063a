"""`singular_values`: the spectra of a network's Jacobians, in its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from torch import nn

from gradflow.determinism import preserved_random_state
from gradflow.errors import ProbeError
from gradflow.probing import BatchNormMode, Loss, probe
from gradflow.probing.linearised import Linearised, linearised
from gradflow.record import Record
from gradflow.spectrum.estimates import adjoint_error, extreme_singular_values, mean_square_singular_value
from gradflow.spectrum.operators import JacobianOperator, branch_jacobian, span_jacobian
from gradflow.units import Inputs, UnitSelection

Row = dict[str, Any]


def singular_values(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    branches: Sequence[int] | None = None,
    spans: Sequence[tuple[int, int]] | None = None,
    largest: int = 5,
    smallest: int = 0,
    probes: int = 8,
    seed: int = 0,
    meta: Mapping[str, Any] | None = None,
) -> Record:
    """Measure `model` as `probe` does, and the singular values of its Jacobians.

    Of each branch's ∂F/∂x_l and each span's ∂x_L/∂x_l: the largest singular values, the
    smallest if asked for, and the mean squared one with its standard error. All are of the
    whole batch: with `bn` `frozen` or `running` that is one block a sample, and the batch's
    singular values are those of its samples together; with `batch` the samples are coupled.
    No matrix is formed. The model is left as it was.

    Args:
        model: any network with residual units.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`; Jacobians do not depend on it.
        bn: as for `probe`.
        units: as for `probe`.
        branches: numbers of the units whose branches are taken; all unless told otherwise.
        spans: pairs (l, L); from the first unit to the last unless told otherwise.
        largest: how many of the largest singular values; without any only the mean square is found.
        smallest: how many of the smallest; these converge slowly.
        probes: random vectors for the mean square.
        seed: of these vectors.
        meta: as for `probe`.

    Returns:
        the record of `probe`, with its tables `jacobians` and `singular_values` filled.

    Raises:
        ProbeError: if there is no such unit or span, a weight or a Jacobian is not finite, or an iteration
            does not converge.
    """
    if largest < 0 or smallest < 0:
        raise ProbeError(f"{largest} largest and {smallest} smallest singular values: expected 0 or more")
    units = units if units is None or isinstance(units, str) else tuple(units)
    _require_finite(model)
    record = probe(model, inputs, targets, loss=loss, bn=bn, units=units, meta=meta)
    jacobians: list[Row] = []
    values: list[Row] = []
    with preserved_random_state(), linearised(model, inputs, bn=bn, units=units) as network:
        for which, operator in _asked_for(network, branches, spans):
            mean = mean_square_singular_value(operator, probes, seed=seed)
            jacobians.append(
                {
                    **which,
                    "stage": network.stages[which["span_start"]],
                    "outputs": operator.shape[0],
                    "inputs": operator.shape[1],
                    "mean_square": mean.value,
                    "mean_square_error": mean.error,
                    "probes": mean.probes,
                    "adjoint_error": adjoint_error(operator, seed=seed),
                }
            )
            if largest:
                found = extreme_singular_values(operator, largest, seed=seed)
                values += [
                    {**which, "order": order, "singular_value": float(value)}
                    for order, value in enumerate(found, start=1)
                ]
            if smallest:
                found = extreme_singular_values(operator, smallest, which="smallest", seed=seed)
                values += [
                    {**which, "order": -order, "singular_value": float(value)}
                    for order, value in enumerate(found, start=1)
                ]
    return replace(
        record,
        jacobians=pd.DataFrame(jacobians).assign(**record.keys),
        singular_values=pd.DataFrame(values).assign(**record.keys),
    )


def _require_finite(model: nn.Module) -> None:
    """Check the weights, wherever they are: a ReLU may keep a NaN out of a Jacobian that it spoils.

    Raises:
        ProbeError: naming the first parameter with NaN or infinity in it.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise ProbeError(
                f"the parameter {name} is not finite, so the network has no singular values to be trusted; "
                "look at gradflow probe"
            )


def _asked_for(
    network: Linearised, branches: Sequence[int] | None, spans: Sequence[tuple[int, int]] | None
) -> Iterator[tuple[Row, JacobianOperator]]:
    """Yield the operators, one at a time: each keeps a backward pass of its own."""
    count = len(network.units)
    for unit in range(count) if branches is None else branches:
        yield (
            {"jacobian": "branch", "span_start": unit, "span_end": unit + 1},
            branch_jacobian(network, unit),
        )
    for start, end in [(0, count)] if spans is None else spans:
        yield (
            {"jacobian": "span", "span_start": start, "span_end": end},
            span_jacobian(network, start, end),
        )
