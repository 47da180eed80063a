# ruff: noqa: SLF001 - what a node keeps is documented as `_saved_…`, and has no other name
"""What each kind of node of the autograd graph does to its input, with all else held.

Nodes keep for their backward pass what they did their work with: weights, masks, statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.classification import operation
from gradflow.units.graph import is_leaf, leaf_of

Factor = float | Tensor
"""What an elementwise map multiplies by: a constant, or a tensor of the value's shape."""

BATCH_NORMALISATION = ("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm")
"""One function, by whichever library a device has it from; others do not keep whether it was in training."""

UNCHANGED_BY = {"Clone", "Alias", "BackwardHookFunction"}
"""Nodes that hand on the value that they were given."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation, applied to values in the dtype in which it is to be evaluated.

    Attributes:
        apply: from the operation's input to its output.
        factor: what it multiplies each element by; None if it does anything else.
        gain: root mean square of its singular values: by how much it enlarges a vector of random sign.
        roundings: of one element of its result, in units of the roundoff.
        gated: whether what it multiplies by has a history of its own, as a gate has.
        linear: whether it is linear, rather than affine or a ReLU.
    """

    apply: Callable[[Tensor], Tensor]
    factor: Factor | None = None
    gain: float = 1.0
    roundings: float = 1.0
    gated: bool = False
    linear: bool = True


def step_of(node: Node, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    """Return what `node` does to its input number `index`; None if that is not known."""
    name = operation(node)
    if name in UNCHANGED_BY:
        return ()
    make = _STEPS.get(name)
    return None if make is None else make(node, index, dtype)


def multiplication_by(factor: Factor, dtype: torch.dtype, *, gated: bool = False) -> Step:
    """Return the multiplication by `factor`, which is `gated` if it has a derivative of its own."""
    if isinstance(factor, Tensor):
        held = factor.detach()
        factor = float(held) if held.numel() == 1 else held.to(dtype)
    gain = float(factor.square().mean().sqrt()) if isinstance(factor, Tensor) else abs(factor)
    return Step(lambda value: value * factor, factor=factor, gain=gain, gated=gated)


def _multiplication(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    other = node._saved_other if index == 0 else node._saved_self
    origin = node.next_functions[1 - index][0]
    gated = origin is not None and not is_leaf(origin)
    return None if other is None else (multiplication_by(other, dtype, gated=gated),)


def _division(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    other = node._saved_other
    return None if index != 0 or other is None else (multiplication_by(1 / other.to(dtype), dtype),)


def _dropout(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...]:  # noqa: ARG001 - as the others
    mask, probability = node._saved_result1, node._saved_p
    return (multiplication_by(mask.to(dtype) / (1 - probability), dtype),)


def _relu(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...]:  # noqa: ARG001 - as the others
    return (Step(torch.relu, roundings=0.0, linear=False),)


def _padding(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...]:  # noqa: ARG001 - as the others
    pads = list(node._saved_pad)
    return (Step(lambda value: F.pad(value, pads), roundings=0.0),)


def _slice(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...]:  # noqa: ARG001 - as the others
    part = slice(node._saved_start, node._saved_end, node._saved_step)
    before = (slice(None),) * node._saved_dim
    return (Step(lambda value: value[(*before, part)].clone(), roundings=0.0),)


def _convolution(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    if index != 0 or node._saved_transposed:
        return None
    weight = node._saved_weight.detach().to(dtype)
    options = (node._saved_stride, node._saved_padding, node._saved_dilation)
    groups = node._saved_groups
    bias = _leaf(node, 2, dtype)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    return (
        Step(
            lambda value: convolve(value, weight, bias, options[0], options[1], options[2], groups),
            gain=float(weight.square().sum() / (weight.shape[1] * groups)) ** 0.5,
            roundings=math.sqrt(weight[0].numel()) + 1,
            linear=bias is None,
        ),
    )


def _matrix(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    if index != 0 or node._saved_mat2 is None:
        return None
    matrix = node._saved_mat2.detach().to(dtype)
    return (_product(matrix, lambda value: value @ matrix),)


def _affine(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    if index != 1 or node._saved_mat2 is None:
        return None
    matrix, bias = node._saved_mat2.detach().to(dtype), _leaf(node, 0, dtype)
    if bias is None:
        return None
    return (replace(_product(matrix, lambda value: torch.addmm(bias, value, matrix)), linear=False),)


def _product(matrix: Tensor, apply: Callable[[Tensor], Tensor]) -> Step:
    gain = float(matrix.square().sum() / len(matrix)) ** 0.5
    return Step(apply, gain=gain, roundings=math.sqrt(len(matrix)) + 1)


def _batch_norm(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    """Batch normalisation with its statistics held: γ (u − μ) / σ + β."""
    if index != 0:
        return None
    if node._saved_training:
        mean, over_deviation = node._saved_result1, node._saved_result2
    else:
        mean = node._saved_running_mean
        variance = node._saved_running_var
        over_deviation = (variance.to(dtype) + epsilon_of(node)).rsqrt()
    gain = over_deviation.detach().to(dtype)
    weight, bias = node._saved_weight, _leaf(node, 2, dtype)
    if weight is not None:
        gain = gain * weight.detach().to(dtype)
    shift = -mean.detach().to(dtype) * gain
    if bias is not None:
        shift = shift + bias
    channels = (-1, *(1,) * (len(node._input_metadata[0].shape) - 2))
    return (_normalisation(gain.view(channels), shift.view(channels)),)


def epsilon_of(node: Any) -> float:
    """Return what a batch normalisation adds to the variance; each implementation has its own name for it."""
    name = "_saved_eps" if operation(node) == "NativeBatchNorm" else "_saved_epsilon"
    return float(getattr(node, name))


def _layer_norm(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    """Layer normalisation with its statistics held."""
    if index != 0:
        return None
    mean, over_deviation = node._saved_result1, node._saved_result2
    weight, bias = node._saved_weight, node._saved_bias
    gain = over_deviation.detach().to(dtype)
    shift = -mean.detach().to(dtype) * gain
    if weight is not None:
        gain, shift = gain * weight.detach().to(dtype), shift * weight.detach().to(dtype)
    if bias is not None:
        shift = shift + bias.detach().to(dtype)
    return (_normalisation(gain, shift),)


def _normalisation(gain: Tensor, shift: Tensor) -> Step:
    """Return u ↦ gain · u + shift: with what computed the two, some five roundings."""
    size = float(gain.square().mean().sqrt())
    return Step(lambda value: torch.addcmul(shift, value, gain), gain=size, roundings=5.0, linear=False)


def _leaf(node: Node, index: int, dtype: torch.dtype) -> Tensor | None:
    """Return the parameter that is input number `index` of `node`."""
    origins: Sequence[tuple[Node | None, int]] = node.next_functions
    origin = origins[index][0] if index < len(origins) else None
    return leaf_of(origin).detach().to(dtype) if origin is not None and is_leaf(origin) else None


_STEPS: dict[str, Callable[[Any, int, torch.dtype], tuple[Step, ...] | None]] = {
    "Mul": _multiplication,
    "Div": _division,
    "NativeDropout": _dropout,
    "FusedDropout": _dropout,
    "Relu": _relu,
    "ConstantPadNd": _padding,
    "Slice": _slice,
    "Convolution": _convolution,
    "Mm": _matrix,
    "Addmm": _affine,
    **dict.fromkeys(BATCH_NORMALISATION, _batch_norm),
    "NativeLayerNorm": _layer_norm,
}
"""What each kind of node does, and where it keeps what it does it with."""
