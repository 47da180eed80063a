"""From what was read to the columns of the record.

All numbers come from the device in one copy; what follows is arithmetic on small arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.backward import UnitGradients
from gradflow.probing.forward import UnitValues
from gradflow.probing.reductions import Squares
from gradflow.record.schema import QUANTILES
from gradflow.units.finding import ResidualUnit

Array = NDArray[np.float64]
Row = dict[str, Any]


class HostNumbers:
    """Small tensors, moved to the host together."""

    def __init__(self, tensors: Iterable[Tensor | None]) -> None:
        wanted = {id(tensor): tensor for tensor in tensors if tensor is not None}
        self._kept = list(wanted.values())
        self._arrays: dict[int, Array] = {}
        if not self._kept:
            return
        flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in self._kept]).cpu().numpy()
        sizes = np.cumsum([tensor.numel() for tensor in self._kept])[:-1]
        self._arrays = dict(zip(wanted, np.split(flat, sizes), strict=True))

    def array(self, tensor: Tensor | None) -> Array | None:
        """Return the numbers of `tensor`, or None for None."""
        return None if tensor is None else self._arrays[id(tensor)]

    def norm(self, squares: Squares | None) -> float | None:
        """Return the Frobenius norm of the whole batch, or None if it is not finite."""
        return None if squares is None else _root(self._arrays[id(squares.per_sample)].sum())


def unit_rows(
    units: Sequence[ResidualUnit],
    values: Sequence[UnitValues],
    gradients: Sequence[UnitGradients],
    numel: Sequence[int],
    run_ends: Sequence[int | None],
    batch: int,
) -> list[Row]:
    """Return the rows of the record's `units` table, without the parameters' columns.

    Args:
        units: the units, in order of execution.
        values: what the forward pass showed of each.
        gradients: what the backward pass showed of each.
        numel: elements of each unit's x_l.
        run_ends: L of the span from each unit to its run's end, or None.
        batch: samples in the batch.
    """
    host = HostNumbers(_tensors(values, gradients))
    samples = _sample_columns(host, gradients, batch)
    spans = _span_columns(host, gradients, run_ends, batch)
    return [
        {
            "unit": unit.index,
            "name": unit.name,
            "stage": unit.stage,
            "shortcut": unit.shortcut,
            "post_activation": unit.post_activation,
            "batch": batch,
            "numel": elements,
            **_forward_columns(host, value),
            **_backward_columns(host, gradient, unit.shortcut != "none"),
            **sample,
            **span,
            "nonfinite": _nonfinite(host, value, gradient),
        }
        for unit, value, gradient, elements, sample, span in zip(
            units, values, gradients, numel, samples, spans, strict=True
        )
    ]


def _squares(value: UnitValues, gradient: UnitGradients) -> list[Squares]:
    """Return every measured tensor of a unit once, however many parts it plays."""
    roles = [value.x, value.shortcut, value.branch, value.total]
    roles += [gradient.total, gradient.arriving, gradient.shortcut, gradient.branch, gradient.other]
    return list({id(squares): squares for squares in roles if squares is not None}.values())


def _tensors(values: Sequence[UnitValues], gradients: Sequence[UnitGradients]) -> Iterable[Tensor | None]:
    for value, gradient in zip(values, gradients, strict=True):
        others = [value.out, gradient.out, gradient.span_arriving]
        for squares in [*_squares(value, gradient), *(found for found in others if found is not None)]:
            yield squares.per_sample
            yield squares.nonfinite
        yield from (value.inner, gradient.inner, gradient.additivity, gradient.span_inner)


def _forward_columns(host: HostNumbers, value: UnitValues) -> Row:
    shortcut, branch = host.norm(value.shortcut), host.norm(value.branch)
    return {
        "x_norm": host.norm(value.x),
        "shortcut_norm": shortcut,
        "branch_norm": branch,
        "sum_norm": host.norm(value.total),
        "out_norm": host.norm(value.out),
        "forward_cosine": _cosine(host.array(value.inner), shortcut, branch),
    }


def _backward_columns(host: HostNumbers, gradient: UnitGradients, has_shortcut: bool) -> Row:
    shortcut, branch = host.norm(gradient.shortcut), host.norm(gradient.branch)
    arriving = host.norm(gradient.arriving)
    other = host.norm(gradient.other)
    if gradient.other is None and gradient.arriving is not None:
        other = 0.0
    error = host.array(gradient.additivity)
    return {
        "grad_sum_norm": host.norm(gradient.total),
        "grad_out_norm": host.norm(gradient.out),
        "grad_shortcut_norm": shortcut if has_shortcut else None,
        "grad_branch_norm": branch,
        "grad_other_norm": other,
        "grad_in_norm": arriving,
        "backward_cosine": _cosine(host.array(gradient.inner), shortcut, branch),
        "additivity_error": _root(error.sum()) / arriving  # type: ignore[operator]
        if error is not None and arriving and _root(error.sum()) is not None
        else None,
    }


def _sample_columns(host: HostNumbers, gradients: Sequence[UnitGradients], batch: int) -> list[Row]:
    """Return cancellation ρ = ⟨b, s⟩ / ‖s‖² and survival ‖s + b‖ / ‖s‖ of each unit, by quantiles."""
    rho, survival = _no_samples(gradients, batch), _no_samples(gradients, batch)
    zero: dict[int, int] = {}
    for index, gradient in enumerate(gradients):
        if gradient.shortcut is None or gradient.branch is None or gradient.inner is None:
            continue
        s = host.array(gradient.shortcut.per_sample)
        b = host.array(gradient.branch.per_sample)
        inner = host.array(gradient.inner)
        if s is None or b is None or inner is None or len(s) != batch:
            continue
        used = s > 0
        rho[index, used] = inner[used] / s[used]
        survival[index, used] = np.sqrt(np.maximum(s + 2 * inner + b, 0.0)[used] / s[used])
        zero[index] = int((s == 0).sum())
    rows = _quantiles({"cancellation": rho, "survival": survival})
    return [row | ({"zero_samples": zero[index]} if index in zero else {}) for index, row in enumerate(rows)]


def _span_columns(
    host: HostNumbers, gradients: Sequence[UnitGradients], run_ends: Sequence[int | None], batch: int
) -> list[Row]:
    """Return the same two over the span to the run's end: s = ∂E/∂x_L, b = Σ b_i, s + b = ∂E/∂x_l.

    That s + b is what arrives at x_l is only so if nothing else does, so `run_ends` has None
    for a unit from which on something reaches the run from outside.
    """
    rho, survival = _no_samples(gradients, batch), _no_samples(gradients, batch)
    ends: dict[int, int] = {}
    for index, (gradient, run_end) in enumerate(zip(gradients, run_ends, strict=True)):
        if run_end is None or gradient.span_arriving is None or gradient.arriving is None:
            continue
        s = host.array(gradient.span_arriving.per_sample)
        whole = host.array(gradient.arriving.per_sample)
        inner = host.array(gradient.span_inner)
        if s is None or whole is None or inner is None or len(s) != batch:
            continue
        used = s > 0
        rho[index, used] = inner[used] / s[used]
        survival[index, used] = np.sqrt(whole[used] / s[used])
        ends[index] = run_end
    rows = _quantiles({"span_cancellation": rho, "span_survival": survival})
    return [row | ({"span_end": ends[index]} if index in ends else {}) for index, row in enumerate(rows)]


def _no_samples(gradients: Sequence[UnitGradients], batch: int) -> Array:
    return np.full((len(gradients), batch), np.nan)


def _quantiles(samples: dict[str, Array]) -> list[Row]:
    """Return the quantile columns of each row of (units, batch); samples that are not finite are left out."""
    columns: dict[str, Array] = {}
    for prefix, values in samples.items():
        found = np.full((len(QUANTILES), len(values)), np.nan)
        whole = np.isfinite(values).all(axis=1)
        if whole.any():
            found[:, whole] = np.quantile(values[whole], list(QUANTILES.values()), axis=1)
        for index in np.flatnonzero(~whole):
            finite = values[index][np.isfinite(values[index])]
            if len(finite):
                found[:, index] = np.quantile(finite, list(QUANTILES.values()))
        columns |= {f"{prefix}_{suffix}": row for suffix, row in zip(QUANTILES, found, strict=True)}
    count = len(next(iter(samples.values())))
    return [
        {name: float(values[index]) for name, values in columns.items() if np.isfinite(values[index])}
        for index in range(count)
    ]


def _nonfinite(host: HostNumbers, value: UnitValues, gradient: UnitGradients) -> int:
    counts = (host.array(squares.nonfinite) for squares in _squares(value, gradient))
    return int(sum(count.sum() for count in counts if count is not None))


def _cosine(inner: Array | None, first: float | None, second: float | None) -> float | None:
    if inner is None or not first or not second:
        return None
    cosine = float(inner.sum()) / first / second
    return min(1.0, max(-1.0, cosine)) if np.isfinite(cosine) else None


def _root(square: float) -> float | None:
    return float(np.sqrt(square)) if np.isfinite(square) else None
