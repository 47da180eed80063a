"""Does the probe tell the truth about this model? A test on the user's own network and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from gradflow.determinism import full_precision, preserved_random_state
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.probing.loss import Loss, evaluate_loss
from gradflow.probing.measuring import probe
from gradflow.probing.oracle import oracle
from gradflow.probing.passes import run_passes
from gradflow.tolerances import oracle_agreement
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import call_model
from gradflow.units.eager import eager
from gradflow.units.state import preserved_model

_COMPARED = (
    "x_norm",
    "shortcut_norm",
    "branch_norm",
    "sum_norm",
    "grad_sum_norm",
    "grad_shortcut_norm",
    "grad_branch_norm",
    "grad_in_norm",
    "param_grad_norm",
)


@dataclass(frozen=True)
class SelfTest:
    """What a self-test found: whether all of it passed, and a line for each part of it."""

    passed: bool
    lines: list[str]


def self_test(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
) -> SelfTest:
    """Hold the probe against plain differentiation on `model` itself.

    Three questions: Are loss and parameter gradients bit for bit those of a pass without
    hooks, on the same seeds? Is the model afterwards what it was before? Do the first, a
    middle and the last unit's numbers agree with the oracle's?

    Args:
        model: as for `probe`.
        inputs: as for `probe`.
        targets: as for `probe`.
        loss: as for `probe`.
        bn: as for `probe`.
        units: as for `probe`.
    """
    model = eager(model)
    units = units if units is None or isinstance(units, str) else tuple(units)
    with full_precision():  # the oracle's differentiations may take other kernels, and TF32 is not float32
        before = _fingerprint(model)
        plain = _plain_pass(model, inputs, targets, loss, bn)
        again = _plain_pass(model, inputs, targets, loss, bn)
        with preserved_random_state():
            passes = run_passes(model, inputs, targets, loss=loss, bn=bn, units=units)
        hooked = passes.value, list(passes.parameter_gradients.values())
        results = [
            _same_bits(plain, again, "two passes without hooks agree bit for bit"),
            _same_bits(
                plain, hooked, "loss and parameter gradients with hooks equal those without, bit for bit"
            ),
            _unchanged(before, _fingerprint(model)),
            _agrees(model, inputs, targets, loss, bn, units),
        ]
    deterministic, (bits, line) = results[0][0], results[1]
    if not bits and not deterministic:
        results[1] = (True, f"not decided: {line} (the model itself differs from run to run)")
    return SelfTest(
        passed=all(passed for passed, _ in results[1:]),
        lines=[f"{'passed' if passed else 'FAILED'}  {line}" for passed, line in results],
    )


Pass = tuple[Tensor, list[Tensor | None]]
Result = tuple[bool, str]


def _plain_pass(model: nn.Module, inputs: Inputs, targets: Any, loss: Loss | None, bn: BatchNormMode) -> Pass:
    """Return loss and parameter gradients with nothing attached.

    Frozen batch normalisation is not torch's own, so what replaces it stays, and nothing else.
    """
    handling = BatchNormHandling(bn)
    with preserved_model(model), preserved_random_state(), torch.enable_grad():
        handling.prepare(model)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        with handling.replacing():
            value = evaluate_loss(call_model(model, inputs), targets, loss)
        with handling.recomputing():
            return value.detach(), list(torch.autograd.grad(value, parameters, allow_unused=True))


def _same_bits(first: Pass, second: Pass, claim: str) -> Result:
    if not _equal(first[0], second[0]):
        return False, f"{claim}: the loss is {float(first[0])!r} and {float(second[0])!r}"
    different = sum(not _equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    if different:
        return False, f"{claim}: {different} of {len(first[1])} gradients differ"
    return True, f"{claim} ({len(first[1])} gradients)"


def _equal(first: Tensor | None, second: Tensor | None) -> bool:
    """Whether two tensors are the same numbers; NaN equals NaN here."""
    if first is None or second is None:
        return first is second
    return bool(torch.equal(first.nan_to_num(nan=0.5), second.nan_to_num(nan=0.5)))


def _fingerprint(model: nn.Module) -> dict[str, Any]:
    """Return what must be the same after a probe as before it."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "parameters and buffers": {name: value.clone() for name, value in model.state_dict().items()},
        "gradients": {
            name: None if parameter.grad is None else parameter.grad.clone()
            for name, parameter in model.named_parameters()
        },
        "modes": {name: module.training for name, module in model.named_modules()},
        "hooks": {
            name: [len(getattr(module, kind)) for kind in hooks] for name, module in model.named_modules()
        },
        "random state": {"torch": torch.random.get_rng_state()},
    }


def _unchanged(before: dict[str, Any], after: dict[str, Any]) -> Result:
    claim = "the model is as it was: " + ", ".join(before)
    for what, values in before.items():
        for name, value in values.items():
            now = after[what].get(name)
            same = _equal(value, now) if isinstance(value, Tensor) else value == now
            if not same:
                return False, f"{claim}; but {what} of {name or 'the model'} changed"
    return True, claim


def _agrees(
    model: nn.Module,
    inputs: Inputs,
    targets: Any,
    loss: Loss | None,
    bn: BatchNormMode,
    units: UnitSelection | None,
) -> Result:
    measured = probe(model, inputs, targets, loss=loss, bn=bn, units=units).units
    chosen = sorted({0, len(measured) // 2, len(measured) - 1})
    expected = oracle(model, inputs, targets, loss=loss, bn=bn, units=units, only=chosen)
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    reduction = max((weight.numel() // min(weight.shape[:2]) for weight in weights), default=1)
    first = next(model.parameters())
    tolerance = oracle_agreement(str(first.dtype).removeprefix("torch."), max(1, len(weights)), reduction)
    worst, where = 0.0, ""
    for column in _COMPARED:
        mine = measured[column].iloc[chosen].reset_index(drop=True)
        error = _largest_relative_difference(mine, expected[column])
        if error > worst or error != error:
            worst, where = error, column
    claim = f"units {', '.join(map(str, chosen))} agree with torch.autograd.grad without hooks"
    place = f" ({where})" if where else ""
    words = f"{claim}: largest relative difference {worst:.1e}{place}, tolerance {tolerance:.1e}"
    return worst <= tolerance, words


def _largest_relative_difference(mine: pd.Series[float], expected: pd.Series[float]) -> float:
    if (mine.isna() != expected.isna()).any():
        return float("nan")
    scale = expected.abs().where(expected != 0, 1.0)
    return float(((mine - expected).abs() / scale).fillna(0.0).max())
