"""`check`: the paper's equations, evaluated on a network with error and tolerance."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradflow.determinism import full_precision
from gradflow.equations.evaluation import evaluate, skipped
from gradflow.equations.finiteness import describe_not_finite, none_holds, not_finite
from gradflow.equations.rewriting import Original, asymmetric_writing
from gradflow.equations.spans import Span
from gradflow.equations.verdicts import Row
from gradflow.errors import ProbeError
from gradflow.probing import BatchNormMode, Loss, probe
from gradflow.probing.capture import captured
from gradflow.probing.loss import loss_name
from gradflow.probing.measuring import make_record, without_collection
from gradflow.record import Record
from gradflow.statements import NUMBERS
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import map_tensors
from gradflow.units.eager import eager

_COUPLED = (
    "bn='{bn}' lets batch normalisation couple the samples of a batch, so nothing exact can be said about "
    "single samples; take bn='frozen' for an untrained network, bn='running' for a trained one"
)


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
    """Measure `model` as `probe` does, and check equations 1 to 9 on it.

    Equations 1, 2, 3 and 6 are evaluated on each unit; 4, 5, 7 and 8 on the spans from a stage's
    start to each unit and from each unit to the stage's end, or on `spans`. Where h is neither the
    identity nor acts element by element, a signal's spans begin at the stage's start, and a
    gradient's end at its end, unless others are asked for. Where a network is not of an equation's
    form, the deviation is measured and is a finding, not a failure (`EQUATIONS` says when each
    must hold). Where a parameter or the loss is not finite no check holds, and all of them fail. The
    model is left as it was; the float64 passes run on a copy.

    Args:
        model: any network with residual units.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`. All equations are about the whole batch, so every mode is exact.
        units: as for `probe`.
        equations: which of '1' to '9' and 'plain', the product of a plain network's blocks.
        spans: pairs (l, L) to check instead of the default ones; a pair (l, l + 1) may be any unit.
            Equation 9, which is about the whole network, is left out then, and that is said among
            what the record's metadata name as skipped.
        dtypes: in which to run; the model's own and float64 unless told otherwise.
        per_sample: whether each sample is held to the tolerance, and the worst one is told. Needs
            `bn` 'running' or 'frozen' where there is batch normalisation. Equation 9 compares whole
            tensors all the same.
        meta: as for `probe`.

    Returns:
        the record of `probe`, with its table `checks` filled, and what is not finite among its notes.

    Raises:
        ProbeError: if there is no such equation, a span cannot be compared, nothing is there to be
            checked, or single samples are asked for and are coupled.
    """
    numbers = list(equations)
    unknown = [number for number in numbers if number not in NUMBERS]
    if unknown or not numbers:
        raise ProbeError(
            f"cannot check equation {', '.join(unknown) or '(none was asked for)'}; "
            f"there are {', '.join(NUMBERS)}"
        )
    if spans is not None and set(numbers) == {"9"}:
        raise ProbeError(
            "equation 9 is about the whole network; leave out the spans, or ask for other equations"
        )
    if dtypes is not None and not dtypes:
        raise ProbeError("there is no dtype to check in; leave out dtypes for the model's own and float64")
    model = eager(model)
    units = units if units is None or isinstance(units, str) else tuple(units)
    # A model without parameters is refused when it is captured, for want of anything to differentiate.
    own = next((parameter.dtype for parameter in model.parameters()), torch.get_default_dtype())
    record: Record | None = None
    rows: list[Row] = []
    left_out: list[dict[str, str]] = []
    spoilt: dict[str, list[str]] = {}
    for dtype in dict.fromkeys(dtypes if dtypes is not None else (own, torch.float64)):
        run = model if dtype == own else _copy(model, own).to(dtype)
        given = inputs if dtype == own else cast(inputs, dtype)
        aims = targets if dtype == own else cast(targets, dtype)
        name = str(dtype).removeprefix("torch.")
        with (
            without_collection(),
            full_precision(),  # TF32 would make this a check of TF32
            captured(run, given, aims, loss=loss, bn=bn, units=units, measuring=dtype == own) as capture,
        ):
            if per_sample and capture.samples_coupled:
                raise ProbeError(_COUPLED.format(bn=bn))
            if capture.passes is not None:
                record = make_record(model, capture.passes, loss_name(loss, targets), bn, meta)
            left_out = skipped(capture, numbers, spans)
            found = evaluate(capture, numbers, spans, name, per_sample=per_sample)
            spoilt[name] = not_finite(run, capture.loss, bn)
            original = Original.of(capture)
        del capture  # and with it the graph, whose memory the other writing needs
        if "9" in numbers and spans is None:
            with full_precision():
                verdicts = asymmetric_writing(run, original, given, aims, loss=loss, bn=bn, dtype=name)
                found += [verdict.row(name) for verdict in verdicts]
        rows += none_holds(found, spoilt[name])
    if not rows:
        raise ProbeError(
            f"there is nothing here to check equation {', '.join(numbers)} on: 1, 2, 3 and 6 are about "
            "single units (spans such as 0-1), 4, 5, 7 and 8 about units whose shape does not change, and "
            "plain about blocks without shortcut, which units= names"
        )
    if record is None:
        record = probe(model, inputs, targets, loss=loss, bn=bn, units=units, meta=meta)
    described = {
        **record.meta,
        "skipped": [*record.meta["skipped"], *left_out],
        "notes": [*record.meta["notes"], *describe_not_finite(spoilt)],
    }
    return replace(record, checks=pd.DataFrame(rows).assign(**record.keys), meta=described)


def _copy(model: nn.Module, own: torch.dtype) -> nn.Module:
    """Return a copy of `model`, which is in `own`, to convert.

    Raises:
        ProbeError: if it cannot be copied, for instance because it keeps a value of a forward pass.
    """
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ProbeError(
            f"{type(model).__name__} cannot be copied for the check in another dtype "
            f"({type(error).__name__}: {error}); give dtypes=[{own}]"
        ) from error


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Return `value` with its floating-point tensors in `dtype`."""

    def change(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return map_tensors(value, change)
