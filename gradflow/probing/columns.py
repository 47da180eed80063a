"""From what was read to the columns of the record.

All numbers come from the device in one copy; what follows is arithmetic on small arrays, of
shape (units,) or (units, batch). NaN stands for what there is none of, or what is not finite.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradflow.probing.backward import UnitGradients
from gradflow.probing.forward import UnitValues
from gradflow.record.schema import QUANTILES
from gradflow.units.finding import ResidualUnit

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Columns = dict[str, Any]

_NONFINITE = ".nonfinite"
_OTHERS = ("inner", "dropped", "additivity", "span_inner")
"""What is not `Squares`."""
_NOT_ITS_OWN = ("out", "both", "span_arriving")
"""Tensors whose elements are not counted with a unit's: those of later units, and sums of what is counted."""


class HostNumbers:
    """The small tensors of all units, moved to the host together.

    Args:
        parts: by the name of a part that a tensor plays in a unit, that tensor of each unit, or None. It has
            the shape (batch,), or has other numbers of the unit; one tensor may play several parts.
        batch: samples in the batch.
    """

    def __init__(self, parts: Mapping[str, Sequence[Tensor | None]], batch: int) -> None:
        known = {id(tensor): tensor for tensors in parts.values() for tensor in tensors if tensor is not None}
        by_device: defaultdict[torch.device, list[Tensor]] = defaultdict(list)
        for tensor in known.values():
            by_device[tensor.device].append(tensor)
        copied = [torch.cat(_flat(group)).cpu() for group in by_device.values()]
        # The last numbers stand for no tensor, which has the place −1.
        self._numbers = np.concatenate([*(numbers.numpy() for numbers in copied), np.full(batch, np.nan)])
        moved = [tensor for group in by_device.values() for tensor in group]
        self._sizes = np.array([*(tensor.numel() for tensor in moved), batch])
        self._starts = np.cumsum(self._sizes) - self._sizes
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is no number, and null in the record
            self._sums = np.add.reduceat(self._numbers, self._starts)
        place_of = {id(tensor): place for place, tensor in enumerate(moved)}
        places = [[place_of.get(id(tensor), -1) for tensor in tensors] for tensors in parts.values()]
        self._places = dict(zip(parts, np.array(places), strict=True))
        self._batch = batch

    def has(self, part: str) -> Flags:
        """Return which units have such a tensor."""
        found: Flags = self._places[part] >= 0
        return found

    def is_by_sample(self, part: str) -> Flags:
        """Return which units have one of shape (batch,)."""
        found: Flags = self._sizes[self._places[part]] == self._batch
        return found & self.has(part)

    def sums(self, part: str) -> Array:
        """Return the sum of each unit's numbers; NaN if there is no tensor."""
        found: Array = self._sums[self._places[part]]
        return found

    def norms(self, part: str) -> Array:
        """Return Frobenius norms of the whole batch."""
        return _roots(self.sums(part))

    def samples(self, part: str) -> Array:
        """Return each unit's numbers sample by sample, (units, batch); NaN where they are not of samples."""
        starts = self._starts[np.where(self.is_by_sample(part), self._places[part], -1)]
        found: Array = self._numbers[starts[:, np.newaxis] + np.arange(self._batch)]
        return found

    def together(self, parts: Sequence[str]) -> Array:
        """Return the sum over several parts of each unit's numbers, those of one tensor once."""
        places = np.sort([self._places[part] for part in parts], axis=0)
        is_another = np.diff(places, axis=0, prepend=-1) > 0
        found: Array = np.where(is_another, self._sums[places], 0.0).sum(axis=0)
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
    parts = _parts("value", values) | _parts("gradient", gradients)
    host = HostNumbers(parts, batch)
    cancellation, survival = _per_sample(host)
    ends = np.array([math.nan if end is None else float(end) for end in run_ends])
    ends[~host.is_by_sample("gradient.span_arriving")] = math.nan
    span_cancellation, span_survival = _over_spans(host, ~np.isnan(ends))
    return {
        "unit": np.array([unit.index for unit in units]),
        "name": [unit.name for unit in units],
        "stage": np.array([unit.stage for unit in units]),
        "shortcut": [unit.shortcut for unit in units],
        "post_activation": [unit.post_activation for unit in units],
        "batch": np.full(len(units), batch),
        "numel": np.array(numel),
        **_forward_columns(host),
        **_backward_columns(host, np.array([unit.shortcut != "none" for unit in units])),
        **_quantiles(
            {
                "cancellation": cancellation,
                "survival": survival,
                "span_cancellation": span_cancellation,
                "span_survival": span_survival,
            }
        ),
        "zero_samples": np.where(host.has("gradient.inner"), _zeros(host, "gradient.shortcut"), math.nan),
        "zero_branch_samples": _zeros(host, "value.branch"),
        "dropped_samples": host.sums("value.dropped"),
        "span_end": ends,
        "nonfinite": host.together([part for part in parts if part.endswith(_NONFINITE)]),
    }


def _flat(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors in one dimension and in float64, as nearly all of them are."""
    return [
        tensor if tensor.ndim == 1 and tensor.dtype is torch.float64 else tensor.reshape(-1).double()
        for tensor in tensors
    ]


def _parts(of: str, found: Sequence[UnitValues | UnitGradients]) -> dict[str, list[Tensor | None]]:
    """Return the tensors that were read, by names such as `value.x` and, for counts, `value.x.nonfinite`."""
    parts: dict[str, list[Tensor | None]] = {}
    for field in fields(found[0]):
        read = [getattr(one, field.name) for one in found]
        if field.name in _OTHERS:
            parts[f"{of}.{field.name}"] = read
            continue
        parts[f"{of}.{field.name}"] = [None if one is None else one.per_sample for one in read]
        if field.name not in _NOT_ITS_OWN:
            counts = [None if one is None else one.nonfinite for one in read]
            parts[f"{of}.{field.name}{_NONFINITE}"] = counts
    return parts


def _forward_columns(host: HostNumbers) -> Columns:
    shortcut, branch = host.norms("value.shortcut"), host.norms("value.branch")
    return {
        "x_norm": host.norms("value.x"),
        "shortcut_norm": shortcut,
        "branch_norm": branch,
        "sum_norm": host.norms("value.total"),
        "out_norm": host.norms("value.out"),
        "forward_cosine": _cosines(host.sums("value.inner"), shortcut, branch),
    }


def _backward_columns(host: HostNumbers, has_shortcut: Flags) -> Columns:
    shortcut, branch = host.norms("gradient.shortcut"), host.norms("gradient.branch")
    arriving, other = host.norms("gradient.arriving"), host.norms("gradient.other")
    nothing_else = host.has("gradient.arriving") & ~host.has("gradient.other")
    return {
        "grad_sum_norm": host.norms("gradient.total"),
        "grad_out_norm": host.norms("gradient.out"),
        "grad_shortcut_norm": np.where(has_shortcut, shortcut, np.nan),
        "grad_branch_norm": branch,
        "grad_other_norm": np.where(nothing_else, 0.0, other),
        "grad_in_norm": arriving,
        "backward_cosine": _cosines(host.sums("gradient.inner"), shortcut, branch),
        "additivity_error": _ratios(host.norms("gradient.additivity"), arriving),
    }


def _per_sample(host: HostNumbers) -> tuple[Array, Array]:
    """Return cancellation ρ = ⟨b, s⟩ / ‖s‖² and survival ‖s + b‖ / ‖s‖ of each unit, (units, batch)."""
    s = host.samples("gradient.shortcut")
    inner, both = host.samples("gradient.inner"), host.samples("gradient.both")
    return _ratios(inner, s), np.sqrt(_ratios(both, s))


def _over_spans(host: HostNumbers, has_span: Flags) -> tuple[Array, Array]:
    """Return the same two over the span to the run's end: s = ∂E/∂x_L, b = Σ b_i, s + b = ∂E/∂x_l.

    Args:
        host: has what was read.
        has_span: which units have one. That s + b is what arrives at x_l is only so if nothing else does, so
            none has a unit from which on something reaches the run from outside.
    """
    s = np.where(has_span[:, np.newaxis], host.samples("gradient.span_arriving"), np.nan)
    inner, whole = host.samples("gradient.span_inner"), host.samples("gradient.arriving")
    return _ratios(inner, s), np.sqrt(_ratios(whole, s))


def _zeros(host: HostNumbers, part: str) -> Array:
    """Return in how many samples each unit's tensor is 0 in every element; NaN where it is not by sample."""
    return np.where(host.is_by_sample(part), (host.samples(part) == 0).sum(axis=1), math.nan)


def _quantiles(ratios: Mapping[str, Array]) -> Columns:
    """Return the quantile columns of ratios, each (units, batch), without samples that are not finite."""
    values = np.concatenate(list(ratios.values()))
    found = np.full((len(QUANTILES), len(values)), np.nan)
    finite = np.isfinite(values)
    whole = finite.all(axis=1)
    if whole.any():
        found[:, whole] = np.quantile(values[whole], list(QUANTILES.values()), axis=1)
    for index in np.flatnonzero(finite.any(axis=1) & ~whole):
        found[:, index] = np.quantile(values[index][finite[index]], list(QUANTILES.values()))
    by_ratio = found.reshape(len(QUANTILES), len(ratios), -1)
    return {
        f"{name}_{suffix}": by_ratio[quantile, ratio]
        for ratio, name in enumerate(ratios)
        for quantile, suffix in enumerate(QUANTILES)
    }


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
