"""From what was read to the columns of the record.

All numbers come from the device in one copy; what follows is arithmetic on small arrays, of
shape (units,) or (units, batch). NaN stands for what there is none of, or what is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.backward import UnitGradients
from gradflow.probing.forward import UnitValues
from gradflow.probing.pairs import Squares
from gradflow.record.schema import QUANTILES
from gradflow.units.finding import ResidualUnit

Array = NDArray[np.float64]
Columns = dict[str, Any]


class HostNumbers:
    """Small tensors, moved to the host together."""

    def __init__(self, tensors: Iterable[Tensor | None]) -> None:
        by_device: dict[torch.device, dict[int, Tensor]] = {}
        for tensor in tensors:
            if tensor is not None:
                by_device.setdefault(tensor.device, {})[id(tensor)] = tensor
        self._kept = by_device  # an id is a tensor's own only while it lives
        wanted = {key: tensor for group in by_device.values() for key, tensor in group.items()}
        copied = [
            torch.cat([_flat(tensor) for tensor in group.values()]).cpu() for group in by_device.values()
        ]
        self._numbers = np.concatenate([np.empty(0), *(numbers.numpy() for numbers in copied)])
        starts = np.cumsum([0, *(tensor.numel() for tensor in wanted.values())])[:-1]
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is no number, and null in the record
            sums = np.add.reduceat(self._numbers, starts) if wanted else self._numbers
        self._starts: dict[int, int] = dict(zip(wanted, starts.tolist(), strict=True))
        self._sums: dict[int, float] = dict(zip(wanted, sums.tolist(), strict=True))

    def sum(self, tensor: Tensor | None) -> float:
        """Return the sum of a tensor's numbers; NaN if there is no tensor."""
        return math.nan if tensor is None else self._sums[id(tensor)]

    def sums(self, tensors: Iterable[Tensor | None]) -> Array:
        """Return the sum of each tensor's numbers."""
        return np.array([self.sum(tensor) for tensor in tensors], dtype=np.float64)

    def norms(self, squares: Iterable[Squares | None]) -> Array:
        """Return Frobenius norms of the whole batch."""
        return _roots(self.sums(None if found is None else found.per_sample for found in squares))

    def samples(self, tensors: Sequence[Tensor | None], batch: int) -> Array:
        """Return each tensor's numbers sample by sample: (units, batch)."""
        found = np.full((len(tensors), batch), np.nan)
        for index, tensor in enumerate(tensors):
            if tensor is not None and tensor.shape == (batch,):
                start = self._starts[id(tensor)]
                found[index] = self._numbers[start : start + batch]
        return found


def unit_columns(
    units: Sequence[ResidualUnit],
    values: Sequence[UnitValues],
    gradients: Sequence[UnitGradients],
    numel: Sequence[int],
    run_ends: Sequence[int | None],
    batch: int,
) -> Columns:
    """Return the columns of the record's `units` table, without the parameters' columns.

    Args:
        units: the units, in order of execution.
        values: what the forward pass showed of each.
        gradients: what the backward pass showed of each.
        numel: elements of each unit's x_l.
        run_ends: L of the span from each unit to its run's end, or None.
        batch: samples in the batch.
    """
    host = HostNumbers(_tensors(values, gradients))
    return {
        "unit": np.array([unit.index for unit in units]),
        "name": [unit.name for unit in units],
        "stage": np.array([unit.stage for unit in units]),
        "shortcut": [unit.shortcut for unit in units],
        "post_activation": [unit.post_activation for unit in units],
        "batch": np.full(len(units), batch),
        "numel": np.array(numel),
        **_forward_columns(host, values),
        **_backward_columns(host, gradients, np.array([unit.shortcut != "none" for unit in units])),
        **_sample_columns(host, gradients, batch),
        "zero_branch_samples": _zero_branches(host, values, batch),
        "dropped_samples": [
            None if value.dropped is None else int(host.sum(value.dropped)) for value in values
        ],
        **_span_columns(host, gradients, run_ends, batch),
        "nonfinite": np.array(
            [
                sum(host.sum(squares.nonfinite) for squares in _squares(value, gradient))
                for value, gradient in zip(values, gradients, strict=True)
            ],
            dtype=np.int64,
        ),
    }


def _flat(tensor: Tensor) -> Tensor:
    tensor = tensor if tensor.ndim == 1 else tensor.reshape(-1)
    return tensor if tensor.dtype is torch.float64 else tensor.double()


def _squares(value: UnitValues, gradient: UnitGradients) -> list[Squares]:
    """Return every measured tensor of a unit once, however many parts it plays."""
    roles = [value.x, value.shortcut, value.branch, value.total]
    roles += [gradient.total, gradient.arriving, gradient.shortcut, gradient.branch, gradient.other]
    return list({id(squares): squares for squares in roles if squares is not None}.values())


def _tensors(values: Sequence[UnitValues], gradients: Sequence[UnitGradients]) -> Iterable[Tensor | None]:
    for value, gradient in zip(values, gradients, strict=True):
        others = [value.out, gradient.out, gradient.both, gradient.span_arriving]
        for squares in [*_squares(value, gradient), *(found for found in others if found is not None)]:
            yield squares.per_sample
            yield squares.nonfinite
        yield from (value.inner, value.dropped, gradient.inner, gradient.additivity, gradient.span_inner)


def _forward_columns(host: HostNumbers, values: Sequence[UnitValues]) -> Columns:
    shortcut = host.norms(value.shortcut for value in values)
    branch = host.norms(value.branch for value in values)
    return {
        "x_norm": host.norms(value.x for value in values),
        "shortcut_norm": shortcut,
        "branch_norm": branch,
        "sum_norm": host.norms(value.total for value in values),
        "out_norm": host.norms(value.out for value in values),
        "forward_cosine": _cosines(host.sums(value.inner for value in values), shortcut, branch),
    }


def _backward_columns(
    host: HostNumbers, gradients: Sequence[UnitGradients], has_shortcut: NDArray[np.bool_]
) -> Columns:
    shortcut = host.norms(gradient.shortcut for gradient in gradients)
    branch = host.norms(gradient.branch for gradient in gradients)
    arriving = host.norms(gradient.arriving for gradient in gradients)
    other = host.norms(gradient.other for gradient in gradients)
    nothing_else = [gradient.other is None and gradient.arriving is not None for gradient in gradients]
    error = _roots(host.sums(gradient.additivity for gradient in gradients))
    return {
        "grad_sum_norm": host.norms(gradient.total for gradient in gradients),
        "grad_out_norm": host.norms(gradient.out for gradient in gradients),
        "grad_shortcut_norm": np.where(has_shortcut, shortcut, np.nan),
        "grad_branch_norm": branch,
        "grad_other_norm": np.where(nothing_else, 0.0, other),
        "grad_in_norm": arriving,
        "backward_cosine": _cosines(host.sums(gradient.inner for gradient in gradients), shortcut, branch),
        "additivity_error": _ratios(error, arriving),
    }


def _sample_columns(host: HostNumbers, gradients: Sequence[UnitGradients], batch: int) -> Columns:
    """Return cancellation ρ = ⟨b, s⟩ / ‖s‖² and survival ‖s + b‖ / ‖s‖ of each unit, by quantiles."""
    s = host.samples([_per_sample(gradient.shortcut) for gradient in gradients], batch)
    both = host.samples([_per_sample(gradient.both) for gradient in gradients], batch)
    inner = host.samples([gradient.inner for gradient in gradients], batch)
    zero = (s == 0).sum(axis=1)
    known = [_is_by_sample(gradient.shortcut, batch) and gradient.inner is not None for gradient in gradients]
    return {
        **_quantiles("cancellation", _ratios(inner, s)),
        **_quantiles("survival", np.sqrt(_ratios(both, s))),
        "zero_samples": [int(count) if there else None for count, there in zip(zero, known, strict=True)],
    }


def _zero_branches(host: HostNumbers, values: Sequence[UnitValues], batch: int) -> list[int | None]:
    """Return in how many samples each F(x_l) is 0 in every element; None where it is not by sample."""
    squares = host.samples([value.branch.per_sample for value in values], batch)
    return [
        int(count) if _is_by_sample(value.branch, batch) else None
        for count, value in zip((squares == 0).sum(axis=1), values, strict=True)
    ]


def _span_columns(
    host: HostNumbers, gradients: Sequence[UnitGradients], run_ends: Sequence[int | None], batch: int
) -> Columns:
    """Return the same two over the span to the run's end: s = ∂E/∂x_L, b = Σ b_i, s + b = ∂E/∂x_l.

    That s + b is what arrives at x_l is only so if nothing else does, so `run_ends` has None
    for a unit from which on something reaches the run from outside.
    """
    spans = [
        gradient if end is not None and _is_by_sample(gradient.span_arriving, batch) else UnitGradients()
        for gradient, end in zip(gradients, run_ends, strict=True)
    ]
    s = host.samples([_per_sample(span.span_arriving) for span in spans], batch)
    whole = host.samples([_per_sample(span.arriving) for span in spans], batch)
    inner = host.samples([span.span_inner for span in spans], batch)
    return {
        "span_end": [end if span.span_arriving else None for span, end in zip(spans, run_ends, strict=True)],
        **_quantiles("span_cancellation", _ratios(inner, s)),
        **_quantiles("span_survival", np.sqrt(_ratios(whole, s))),
    }


def _is_by_sample(squares: Squares | None, batch: int) -> bool:
    return squares is not None and squares.per_sample.shape == (batch,)


def _per_sample(squares: Squares | None) -> Tensor | None:
    return None if squares is None else squares.per_sample


def _quantiles(prefix: str, values: Array) -> Columns:
    """Return the quantile columns of each row of (units, batch); samples that are not finite are left out."""
    found = np.full((len(QUANTILES), len(values)), np.nan)
    whole = np.isfinite(values).all(axis=1)
    if whole.any():
        found[:, whole] = np.quantile(values[whole], list(QUANTILES.values()), axis=1)
    for index in np.flatnonzero(~whole):
        finite = values[index][np.isfinite(values[index])]
        if len(finite):
            found[:, index] = np.quantile(finite, list(QUANTILES.values()))
    return {f"{prefix}_{suffix}": row for suffix, row in zip(QUANTILES, found, strict=True)}


def _cosines(inner: Array, first: Array, second: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.clip(_ratios(_ratios(inner, first), second), -1.0, 1.0)


def _ratios(part: Array, whole: Array) -> Array:
    """Return part / whole; NaN where that is not finite, or the whole is zero."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio: Array = part / whole
    return np.where((whole > 0) & np.isfinite(ratio), ratio, np.nan)


def _roots(squares: Array) -> Array:
    return np.sqrt(np.where(np.isfinite(squares), squares, np.nan))
