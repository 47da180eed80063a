# ruff: noqa: SLF001 - what a node keeps is documented as `_saved_…`, and has no other name
"""The transposes of what may stand on a shortcut, each written out: of linear maps, and of normalisations.

Autograd's own backward formulas are what a check holds against these, so they are not used here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.equations.operations import BATCH_NORMALISATION, epsilon_of
from gradflow.units.classification import operation

Transpose = Callable[[Tensor], Tensor]


def transpose_of(node: Node, shape: torch.Size) -> Transpose | None:
    """Return the transpose of a linear or affine operation; None of one that is not known here.

    Args:
        node: the operation's.
        shape: of its input.
    """
    make = _TRANSPOSES.get(operation(node))
    return None if make is None else make(node, shape)


def normalisation(node: Node) -> Transpose | None:
    """Return the transposed Jacobian of a normalisation by statistics of its input; None of anything else."""
    make = _NORMALISATIONS.get(operation(node))
    return None if make is None else make(node)


def _convolution(node: Any, shape: torch.Size) -> Transpose:
    weight = node._saved_weight.detach()
    stride, padding, dilation = node._saved_stride, node._saved_padding, node._saved_dilation
    transposed = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[weight.ndim - 3]

    def apply(cotangent: Tensor) -> Tensor:
        sizes = zip(shape[2:], cotangent.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
        # What a stride does not reach of the input gets no gradient, but has its place.
        beyond = [i - ((o - 1) * s - 2 * p + d * (k - 1) + 1) for i, o, k, s, p, d in sizes]
        kernel = weight.to(cotangent.dtype)
        return transposed(cotangent, kernel, None, stride, padding, beyond, node._saved_groups, dilation)

    return apply


def _padding(node: Any, shape: torch.Size) -> Transpose:  # noqa: ARG001 - as the others
    cropped = [-pad for pad in node._saved_pad]
    return lambda cotangent: F.pad(cotangent, cropped)


def _slice(node: Any, shape: torch.Size) -> Transpose:
    part = slice(node._saved_start, node._saved_end, node._saved_step)
    place = (*(slice(None),) * node._saved_dim, part)

    def apply(cotangent: Tensor) -> Tensor:
        whole = cotangent.new_zeros(shape)
        whole[place] = cotangent
        return whole

    return apply


def _matrix(node: Any, shape: torch.Size) -> Transpose:  # noqa: ARG001 - as the others
    matrix = node._saved_mat2.detach()
    return lambda cotangent: cotangent @ matrix.to(cotangent.dtype).T


def _held_batch_norm(node: Any, shape: torch.Size) -> Transpose:
    """Batch normalisation by statistics that are constants: γ / σ times the gradient."""
    variance, weight = node._saved_running_var.detach(), node._saved_weight
    channels = (1, -1, *(1,) * (len(shape) - 2))

    def apply(cotangent: Tensor) -> Tensor:
        gain: Tensor = (variance.to(cotangent.dtype) + epsilon_of(node)).rsqrt()
        if weight is not None:
            gain = gain * weight.detach().to(cotangent.dtype)
        return cotangent * gain.view(channels)

    return apply


_TRANSPOSES: dict[str, Callable[[Any, torch.Size], Transpose]] = {
    "Convolution": _convolution,
    "ConstantPadNd": _padding,
    "Slice": _slice,
    "Mm": _matrix,
    "Addmm": _matrix,
    **dict.fromkeys(BATCH_NORMALISATION, _held_batch_norm),
}
"""Of operations that `gradflow.equations.operations` takes for linear or affine."""

ROUNDINGS_OF_A_NORMALISATION = 12.0
"""Two means of the gradient, what they are multiplied by, and two differences."""


def _batch_norm(node: Any) -> Transpose | None:
    if not node._saved_training:
        return None  # an affine map, as `operations` has it
    value = node._saved_input.detach()
    over = [dimension for dimension in range(value.ndim) if dimension != 1]
    channels = (1, -1, *(1,) * (value.ndim - 2))
    mean, over_deviation = (
        part.detach().view(channels) for part in (node._saved_result1, node._saved_result2)
    )
    weight = node._saved_weight
    gain = None if weight is None else weight.detach().view(channels)
    return partial(_through_statistics, value, mean, over_deviation, gain, over)


def _layer_norm(node: Any) -> Transpose:
    value, weight = node._saved_input.detach(), node._saved_weight
    over = list(range(value.ndim - len(node._saved_normalized_shape), value.ndim))
    gain = None if weight is None else weight.detach()
    return partial(_through_statistics, value, node._saved_result1, node._saved_result2, gain, over)


def _through_statistics(
    value: Tensor,
    mean: Tensor,
    over_deviation: Tensor,
    gain: Tensor | None,
    over: list[int],
    cotangent: Tensor,
) -> Tensor:
    """Return the gradient before u ↦ γ (u − μ) / σ + β, where μ and σ are of u over the dimensions `over`.

    (c − c̄ − û ⟨c û⟩) / σ with c = γ ∂E/∂(…), û = (u − μ) / σ, and means over `over`.
    """
    scaled = cotangent if gain is None else cotangent * gain.to(cotangent.dtype)
    inverse = over_deviation.detach().to(cotangent.dtype)
    normalised = (value.to(cotangent.dtype) - mean.detach().to(cotangent.dtype)) * inverse
    along = (scaled * normalised).mean(over, keepdim=True)
    return (scaled - scaled.mean(over, keepdim=True) - normalised * along) * inverse


_NORMALISATIONS: dict[str, Callable[[Any], Transpose | None]] = {
    **dict.fromkeys(BATCH_NORMALISATION, _batch_norm),
    "NativeLayerNorm": _layer_norm,
}
"""Normalisations by statistics of their input, which its gradient goes through as well."""
