"""Sums of squares and inner products of large tensors, sample by sample.

Everything that a probe measures of a tensor is one of these numbers, so they have to be
right to 1e-6 in float32 and cheap beside the pass that is measured. A plain float32
`vector_norm` over millions of elements is off by 1e-5, and one in float64 copies the
tensor first. So squares are summed in float32 over short blocks, and the blocks in
float64; products are summed by `torch.sum`, which adds pairwise.

Values whose squares leave the range of float32, or that are not finite, are found by
their sum and measured again in float64, with the non-finite elements counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 1024
_CACHED_ELEMENTS = 512 * 1024
"""Products that are summed at a time: 2 MB in float32, a share of a common last-level cache."""

_SMALLEST_MEAN_SQUARE = 1e-30
"""Below this, squares of float32 numbers lose digits to gradual underflow (from 1.2e-38)."""


@dataclass(frozen=True, eq=False)
class Squares:
    """‖·‖² of one tensor: `per_sample` of shape (batch,) in float64, and the non-finite elements."""

    per_sample: Tensor
    nonfinite: Tensor

    @property
    def total(self) -> Tensor:
        """The squared Frobenius norm of the whole batch, a float64 scalar."""
        return self.per_sample.sum()


@dataclass(frozen=True, eq=False)
class PartNumbers:
    """What is measured of the parts of one gradient.

    Attributes:
        shortcut: ‖s‖²; None if it was not asked for or there is none.
        branch: ‖b‖².
        inner: ⟨s, b⟩, shape (batch,).
        end_inner: ⟨b, g⟩ with the gradient at the end of the unit's run, shape (batch,).
        remainder: ‖s + b + other − arriving‖², over the whole batch.
    """

    shortcut: Squares | None
    branch: Squares | None
    inner: Tensor | None
    end_inner: Tensor | None
    remainder: Tensor


class Reducer:
    """Reduces tensors of one batch, with scratch memory that is reused.

    Several numbers of the same tensors are computed piece by piece, a few samples at a time,
    so that a piece is fetched from memory once: fetching is what a probe's time goes into.

    Args:
        batch: samples in the batch. A tensor whose first dimension is another one (a
            sequence first) is reduced as if it were one sample.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self._scratch: Tensor | None = None

    @torch.no_grad()
    def squares(self, value: Tensor) -> Squares:
        """Return ‖value‖² for each sample."""
        rows = self._rows(value, _memory_order(value))
        return self._trusted(rows, _sum_of_squares(rows) if _is_quick(rows) else None)

    @torch.no_grad()
    def pair(self, first: Tensor, second: Tensor) -> tuple[Squares, Tensor]:
        """Return ‖second‖² and ⟨first, second⟩, for each sample."""
        order = _memory_order(second)
        rows, others = self._rows(second, order), self._rows(first, order)
        if not _is_quick(rows, others):
            return self._trusted(rows, None), _wide_inner(rows, others)
        squares, inner = [], []
        for piece, other in zip(_pieces(rows), _pieces(others), strict=True):
            inner.append(self._inner(piece, other))
            squares.append(_sum_of_squares(piece))
        return self._trusted(rows, torch.cat(squares)), _finite_inner(torch.cat(inner), rows, others)

    @torch.no_grad()
    def parts(
        self,
        arriving: Tensor,
        shortcut: Tensor | None,
        branch: Tensor | None,
        other: Tensor | None,
        *,
        measure_shortcut: bool,
        end: Tensor | None,
    ) -> PartNumbers:
        """Return everything that a probe measures of the parts of a gradient.

        Args:
            arriving: ∂E/∂x_l, the sum of the parts as autograd made it.
            shortcut: s.
            branch: b.
            other: the remaining parts.
            measure_shortcut: whether ‖s‖² is wanted.
            end: ∂E/∂x_L at the end of the unit's run, if ⟨b, ∂E/∂x_L⟩ is wanted.
        """
        order = _memory_order(arriving)
        named = {"s": shortcut, "b": branch, "o": other, "t": arriving, "g": end}
        rows = {name: self._rows(value, order) for name, value in named.items() if value is not None}
        if not _is_quick(*rows.values()):
            return self._wide_parts(rows, measure_shortcut)
        sums: dict[str, list[Tensor]] = {name: [] for name in ("ss", "bb", "sb", "bg", "rr")}
        for values in zip(*(_pieces(value) for value in rows.values()), strict=True):
            piece = dict(zip(rows, values, strict=True))
            if "s" in piece and measure_shortcut:
                sums["ss"].append(_sum_of_squares(piece["s"]))
            if "b" in piece:
                sums["bb"].append(_sum_of_squares(piece["b"]))
                if "s" in piece:
                    sums["sb"].append(self._inner(piece["s"], piece["b"]))
                if "g" in piece:
                    sums["bg"].append(self._inner(piece["b"], piece["g"]))
            sums["rr"].append(_sum_of_squares(self._remainder(piece)))
        found = {name: torch.cat(pieces) for name, pieces in sums.items() if pieces}
        return PartNumbers(
            shortcut=self._trusted(rows["s"], found["ss"]) if "ss" in found else None,
            branch=self._trusted(rows["b"], found["bb"]) if "bb" in found else None,
            inner=_finite_inner(found["sb"], rows["s"], rows["b"]) if "sb" in found else None,
            end_inner=_finite_inner(found["bg"], rows["b"], rows["g"]) if "bg" in found else None,
            remainder=found["rr"].sum(),
        )

    def _wide_parts(self, rows: dict[str, Tensor], measure_shortcut: bool) -> PartNumbers:
        """Do the same in float64 on the device, where looking at a value would wait for it."""
        parts = [rows[name].double() for name in ("s", "b", "o") if name in rows]
        has_both = "s" in rows and "b" in rows
        return PartNumbers(
            shortcut=self._trusted(rows["s"], None) if "s" in rows and measure_shortcut else None,
            branch=self._trusted(rows["b"], None) if "b" in rows else None,
            inner=_wide_inner(rows["s"], rows["b"]) if has_both else None,
            end_inner=_wide_inner(rows["b"], rows["g"]) if "g" in rows and "b" in rows else None,
            remainder=(torch.stack(parts).sum(0) - rows["t"].double()).square().sum(),
        )

    def _trusted(self, rows: Tensor, quick: Tensor | None) -> Squares:
        """Return `quick` if it can be trusted, else the sums of squares in float64."""
        if quick is not None:
            total = float(quick.sum())
            in_range = _SMALLEST_MEAN_SQUARE * rows.numel() < total < math.inf
            if in_range or (total == 0.0 and not rows.any()):
                return Squares(quick, torch.zeros((), dtype=torch.int64))
        wide = rows.double()
        return Squares(wide.square().sum(1), (~wide.isfinite()).sum())

    def _inner(self, first: Tensor, second: Tensor) -> Tensor:
        return torch.mul(first, second, out=self._buffer(first)).sum(1).double()

    def _remainder(self, piece: dict[str, Tensor]) -> Tensor:
        """Return s + b + other − arriving, in scratch memory."""
        first, *others = [piece[name] for name in ("s", "b", "o") if name in piece]
        buffer = self._buffer(first)
        if not others:
            return torch.sub(first, piece["t"], out=buffer)
        torch.add(first, others[0], out=buffer)
        for part in others[1:]:
            buffer.add_(part)
        return buffer.sub_(piece["t"])

    def _rows(self, value: Tensor, order: list[int]) -> Tensor:
        """Return `value` as (samples, elements), a view if `order` is how it lies in memory."""
        samples = self.batch if value.ndim and value.shape[0] == self.batch else 1
        return value.detach().permute(order).reshape(samples, -1)

    def _buffer(self, like: Tensor) -> Tensor:
        """Return scratch memory of the shape of `like`, the same memory at every call."""
        if self._scratch is None or self._scratch.numel() < like.numel() or self._scratch.dtype != like.dtype:
            self._scratch = torch.empty(like.numel(), dtype=like.dtype, device=like.device)
        return self._scratch[: like.numel()].view(like.shape)


def _is_quick(*rows: Tensor) -> bool:
    """Whether sums in the tensors' own dtype will do, and may be looked at as soon as they are there."""
    return all(row.device.type == "cpu" and row.dtype in (torch.float32, torch.float64) for row in rows)


def _pieces(rows: Tensor) -> tuple[Tensor, ...]:
    """Split rows into pieces that stay in the processor's cache."""
    pieces: tuple[Tensor, ...] = torch.split(rows, max(1, _CACHED_ELEMENTS // rows.shape[1]))
    return pieces


def _wide_inner(rows: Tensor, others: Tensor) -> Tensor:
    return (rows.double() * others.double()).sum(1)


def _finite_inner(quick: Tensor, rows: Tensor, others: Tensor) -> Tensor:
    """Return `quick` unless a product left the range of the dtype."""
    return quick if math.isfinite(float(quick.sum())) else _wide_inner(rows, others)


def _memory_order(value: Tensor) -> list[int]:
    """Return the dimensions, the samples' first and then from the largest stride to the smallest."""
    strides = value.stride()
    inner = sorted(range(1, value.ndim), key=lambda dimension: -strides[dimension])
    return [0, *inner] if value.ndim else []


def _sum_of_squares(rows: Tensor) -> Tensor:
    if rows.dtype == torch.float64 or rows.shape[1] % 4:
        return rows.square().sum(1).double()
    block = math.gcd(rows.shape[1], _BLOCK)
    if block < 64:
        return rows.square().sum(1).double()
    norms: Tensor = torch.linalg.vector_norm(rows.reshape(-1, block), dim=1)
    return norms.double().square_().view(rows.shape[0], -1).sum(1)
