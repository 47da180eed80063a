"""`check`: the propagation equations, evaluated on a network with error and tolerance."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradflow.determinism import full_precision
from gradflow.equations.evaluation import evaluate
from gradflow.equations.rewriting import asymmetric_writing
from gradflow.equations.spans import Span
from gradflow.equations.statements import NUMBERS
from gradflow.equations.verdicts import Row
from gradflow.errors import ProbeError
from gradflow.probing import BatchNormMode, Loss, probe
from gradflow.probing.capture import captured
from gradflow.record import Record
from gradflow.record.schema import conform
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import map_tensors
from gradflow.units.eager import eager


def check(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    equations: Iterable[str] = NUMBERS,
    spans: Sequence[Span] | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    per_sample: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> Record:
    """Measure `model` as `probe` does, and check equations 3, 4 and 5 on it.

    Each equation is evaluated on each unit, on the spans from a stage's start to each unit
    and from each unit to the stage's end, or on `spans`. Where shortcut or after-addition
    function is not an identity, the deviation is measured and is a finding, not a failure.
    The model is left as it was; the float64 passes run on a copy.

    Args:
        model: any network with residual units.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`. All equations are about the whole batch, so every mode is exact.
        units: as for `probe`.
        equations: which of '3', '4' and '5'.
        spans: pairs (l, L) to check instead of the default ones.
        dtypes: in which to run; the model's own and float64 unless told otherwise.
        per_sample: whether each sample is held to the tolerance, and the worst one is told. Needs
            `bn` 'running' or 'frozen' where there is batch normalisation.
        meta: as for `probe`.

    Returns:
        the record of `probe`, with its table `checks` filled.

    Raises:
        ProbeError: if there is no such equation, or a span cannot be compared.
    """
    numbers = list(equations)
    unknown = [number for number in numbers if number not in NUMBERS]
    if unknown or not numbers:
        raise ProbeError(
            f"cannot check equation {', '.join(unknown) or '(none was asked for)'}; "
            f"there are {', '.join(NUMBERS)}"
        )
    model = eager(model)
    units = units if units is None or isinstance(units, str) else tuple(units)
    record = probe(model, inputs, targets, loss=loss, bn=bn, units=units, meta=meta)
    if per_sample and record.meta["samples_coupled"]:
        raise ProbeError(
            f"bn='{bn}' lets batch normalisation couple the samples of a batch, so nothing exact can be said "
            "about single samples; take bn='frozen' for an untrained network, bn='running' for a trained one"
        )
    own = next(model.parameters()).dtype
    rows: list[Row] = []
    for dtype in dict.fromkeys(dtypes if dtypes is not None else (own, torch.float64)):
        run = model if dtype == own else _copy(model).to(dtype)
        given = inputs if dtype == own else cast(inputs, dtype)
        aims = targets if dtype == own else cast(targets, dtype)
        name = str(dtype).removeprefix("torch.")
        with (
            full_precision(),  # TF32 would make this a check of TF32
            captured(run, given, aims, loss=loss, bn=bn, units=units) as capture,
        ):
            rows += evaluate(capture, numbers, spans, name, per_sample=per_sample)
        if "9" in numbers and spans is None:
            verdicts = asymmetric_writing(run, capture, given, aims, loss=loss, bn=bn, dtype=name)
            rows += [verdict.row(name) for verdict in verdicts]
        del capture
    keys = {name: record.units[name].iloc[0] for name in ("iteration", "seed", "batch_index")}
    table = pd.DataFrame([{**keys, **row} for row in rows])
    return Record(
        units=record.units,
        parameters=record.parameters,
        checks=conform("checks", table),
        steps=record.steps,
        meta=record.meta,
    )


def _copy(model: nn.Module) -> nn.Module:
    """Return a copy of `model` to convert.

    Raises:
        ProbeError: if it cannot be copied, for instance because it keeps a value of a forward pass.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ProbeError(
            f"{type(model).__name__} cannot be copied for the check in another dtype "
            f"({type(error).__name__}: {error}); give dtypes=[{next(model.parameters()).dtype}]"
        ) from error


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Return `value` with its floating-point tensors in `dtype`."""

    def change(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return map_tensors(value, change)
