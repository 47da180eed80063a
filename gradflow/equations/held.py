"""A unit's h and f, evaluated again from the graph with everything else held as it was.

Equations 6 to 8 multiply what stands on the shortcut: a constant λ, a dropout's mask, a gate's
1 − g(x), a 1×1 convolution. With masks, gates and normalisation statistics held at what they
were in the pass, each of these is an affine map u ↦ A u + c. Its parts are read from what the
nodes of the autograd graph keep for their backward pass, so that it works on any network, and
it shares no computation with the values that it is compared with.
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
from gradflow.units.graph import Port, is_leaf, leaf_of
from gradflow.units.tracing import TracedUnit

Factor = float | Tensor
"""What an elementwise map multiplies by: a constant, or a tensor of the value's shape."""

_UNCHANGED = {"Clone", "Alias", "BackwardHookFunction"}
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


@dataclass(frozen=True, eq=False)
class Held:
    """A path of the graph as a function of its start, all else held.

    Attributes:
        steps: in the order of the forward pass; none for the identity.
    """

    steps: tuple[Step, ...] = ()

    @property
    def factor(self) -> Factor | None:
        """What the function multiplies each element by: 1 for the identity; None if it does more."""
        product: Factor = 1.0
        for step in self.steps:
            if step.factor is None:
                return None
            product = product * step.factor
        return product

    @property
    def gain(self) -> float:
        """By how much the function enlarges a vector of random sign."""
        return math.prod(step.gain for step in self.steps)

    @property
    def roundings(self) -> float:
        """Roundings of one element of the result, in units of the roundoff."""
        return sum(step.roundings for step in self.steps)

    @property
    def gated(self) -> bool:
        """Whether a factor has a derivative of its own: h′ is then more than `factor`."""
        return any(step.gated for step in self.steps)

    @property
    def linear(self) -> bool:
        """Whether the function is linear, rather than affine or more than that."""
        return all(step.linear for step in self.steps)

    def __call__(self, value: Tensor) -> Tensor:
        """Return the function's value."""
        for step in self.steps:
            value = step.apply(value)
        return value


def held_shortcut(unit: TracedUnit, dtype: torch.dtype) -> Held | None:
    """Return h of `unit`, with gates, masks and statistics held; None if it cannot be told.

    Args:
        unit: a unit whose graph is whole.
        dtype: in which it is to be evaluated.
    """
    if unit.split is None:
        return None
    port, factor = unit.operand(unit.split.shortcut_operand)
    found = _evaluable(port, unit.fork, dtype)
    if found is None or factor == 1:
        return found
    return Held((*found.steps, _times(factor, dtype)))


def held_post_activation(unit: TracedUnit, dtype: torch.dtype) -> Held | None:
    """Return f of `unit`, from y_l to x_{l+1}; None if it cannot be told."""
    return _evaluable(unit.out, unit.total, dtype)


def held_block(unit: TracedUnit, dtype: torch.dtype) -> Held | None:
    """Return what a block without shortcut does to x_l; None if it cannot be told."""
    return _evaluable(unit.total, unit.fork, dtype)


def _evaluable(end: Port, start: Port, dtype: torch.dtype) -> Held | None:
    """Return the way from `start` to `end`; None also where what a node kept has been overwritten."""
    try:
        return _path(end, start, dtype)
    except RuntimeError:  # autograd refuses to hand out what an in-place operation has changed since
        return None


def _path(end: Port, start: Port, dtype: torch.dtype) -> Held | None:
    """Return the one way from `start` to `end` that can be evaluated again.

    An operation with two operands that both come from `start` is a gate times a value: the
    operand that is itself no operation known here (the sigmoid) is held.
    """
    if end == start:
        return Held()
    node = end.node
    found: list[Held] = []
    for index, (origin, output) in enumerate(node.next_functions):
        if origin is None or is_leaf(origin):
            continue
        before = _path(Port(origin, output), start, dtype)
        if before is None:
            continue
        step = _step(node, index, dtype)
        if step is not None:
            found.append(Held((*before.steps, *step)))
    return found[0] if len(found) == 1 else None


def _step(node: Node, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    """Return what `node` does to its input number `index`; None if that is not known."""
    name = operation(node)
    if name in _UNCHANGED:
        return ()
    make = _STEPS.get(name)
    return None if make is None else make(node, index, dtype)


def _times(factor: Factor, dtype: torch.dtype, *, gated: bool = False) -> Step:
    if isinstance(factor, Tensor):
        factor = float(factor) if factor.numel() == 1 else factor.detach().to(dtype)
    gain = float(factor.square().mean().sqrt()) if isinstance(factor, Tensor) else abs(factor)
    return Step(lambda value: value * factor, factor=factor, gain=gain, gated=gated)


def _multiplication(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    other = node._saved_other if index == 0 else node._saved_self  # noqa: SLF001 - torch documents them
    origin = node.next_functions[1 - index][0]
    gated = origin is not None and not is_leaf(origin)
    return None if other is None else (_times(other, dtype, gated=gated),)


def _division(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    other = node._saved_other  # noqa: SLF001 - as above
    return None if index != 0 or other is None else (_times(1 / other.to(dtype), dtype),)


def _dropout(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...]:
    mask, probability = node._saved_result1, node._saved_p  # noqa: SLF001 - as above
    return (_times(mask.to(dtype) / (1 - probability), dtype),)


def _relu(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...]:
    return (Step(torch.relu, roundings=0.0, linear=False),)


def _convolution(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    if index != 0 or node._saved_transposed:  # noqa: SLF001 - as above
        return None
    weight = node._saved_weight.detach().to(dtype)  # noqa: SLF001 - as above
    options = (node._saved_stride, node._saved_padding, node._saved_dilation)  # noqa: SLF001 - as above
    groups = node._saved_groups  # noqa: SLF001 - as above
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
    if index != 0 or node._saved_mat2 is None:  # noqa: SLF001 - as above
        return None
    matrix = node._saved_mat2.detach().to(dtype)  # noqa: SLF001 - as above
    return (_product(matrix, lambda value: value @ matrix),)


def _affine(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    if index != 1 or node._saved_mat2 is None:  # noqa: SLF001 - as above
        return None
    matrix, bias = node._saved_mat2.detach().to(dtype), _leaf(node, 0, dtype)  # noqa: SLF001 - as above
    return (
        (Step(lambda value: torch.addmm(bias, value, matrix), weights=True, reduction=len(matrix)),)
        if bias is not None
        else None
    )


def _batch_norm(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    """Batch normalisation with its statistics held: γ (u − μ) / σ + β."""
    if index != 0:
        return None
    if node._saved_training:  # noqa: SLF001 - as above
        mean, over_deviation = node._saved_result1, node._saved_result2  # noqa: SLF001 - as above
    else:
        mean = node._saved_running_mean  # noqa: SLF001 - as above
        variance = node._saved_running_var  # noqa: SLF001 - as above
        over_deviation = (variance.to(dtype) + node._saved_eps).rsqrt()  # noqa: SLF001 - as above
    gain = over_deviation.detach().to(dtype)
    weight, bias = node._saved_weight, _leaf(node, 2, dtype)  # noqa: SLF001 - as above
    if weight is not None:
        gain = gain * weight.detach().to(dtype)
    shift = -mean.detach().to(dtype) * gain
    if bias is not None:
        shift = shift + bias
    channels = (-1, *(1,) * (len(node._input_metadata[0].shape) - 2))  # noqa: SLF001 - documented on Node
    return (_normalisation(gain.view(channels), shift.view(channels)),)


def _layer_norm(node: Any, index: int, dtype: torch.dtype) -> tuple[Step, ...] | None:
    """Layer normalisation with its statistics held."""
    if index != 0:
        return None
    mean, over_deviation = node._saved_result1, node._saved_result2  # noqa: SLF001 - as above
    weight, bias = node._saved_weight, node._saved_bias  # noqa: SLF001 - as above
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
    "Convolution": _convolution,
    "Mm": _matrix,
    "Addmm": _affine,
    "NativeBatchNorm": _batch_norm,
    "NativeLayerNorm": _layer_norm,
}
"""What each kind of node does, and where it keeps what it does it with."""
