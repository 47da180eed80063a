"""Is an addition a residual unit's, and if so, what is its shortcut?

An addition y = a + b is residual when one operand, the branch, passes parameters of its
own between the fork and the addition, and the other, the shortcut, is bare or shorter,
with at most a projection, scale, gate or dropout. The inner sums of GELU's tanh form and
positional embeddings fail that test, as they must: the first have no parameter, the
second no common origin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch.autograd.graph import Node

from gradflow.units.graph import BOTH, FIRST, SECOND, Edge, Port, Walk

_LAYOUT = {
    "View", "Reshape", "ReshapeAlias", "UnsafeView", "Permute", "Transpose", "T", "Expand", "Clone", "ToCopy",
    "Alias", "Squeeze", "Unsqueeze", "AsStrided", "Unflatten", "Contiguous",
    "BackwardHookFunction",  # stands where somebody's full backward hook on a module is
}  # fmt: skip
"""Nodes that move values or change their type, and compute nothing."""

_NORMALISATION = {
    "NativeBatchNorm": "batch_norm", "CudnnBatchNorm": "batch_norm", "MiopenBatchNorm": "batch_norm",
    "BatchNormWithUpdate": "batch_norm", "NativeLayerNorm": "layer_norm", "NativeGroupNorm": "group_norm",
    "FusedRmsNorm": "rms_norm",
}  # fmt: skip
_PROJECTION = {"Convolution", "MkldnnConvolution", "CudnnConvolution", "Addmm", "Mm", "Bmm", "Linear"}
_PADDING = {"ConstantPadNd", "Cat", "Constant"}
_SUBSAMPLING = {"Slice", "Select", "AvgPool2D", "MaxPool2DWithIndices", "Mean", "Index", "AdaptiveAvgPool2D"}
_SCALING = {"Mul", "Div"}
_GATE = {"Sigmoid", "Hardsigmoid", "Rsub", "Sub", "Neg", "Add"}
_SHORTCUT = _LAYOUT | set(_NORMALISATION) | _PROJECTION | _PADDING | _SUBSAMPLING | _SCALING | _GATE | {
    "NativeDropout", "FusedDropout", "Roll",
}  # fmt: skip
"""All that may stand on a shortcut."""


@dataclass(frozen=True)
class Split:
    """An addition told apart: which operand is the shortcut, and what each one holds.

    Attributes:
        fork: x_l, the value at the fork.
        shortcut: what h is (a value of the record's `shortcut` column).
        shortcut_operand: 0 or 1, the operand of the addition that is h(x_l).
        shortcut_edges: edges along which ∂E/∂x_l's shortcut part flows into the fork.
        branch_edges: likewise for the branch.
        mixed_edges: edges that both paths use, because they share nodes below the fork (an
            exclusive gate's sigmoid): neither part can be read off them.
        interior: the nodes of both paths, between the fork and the addition.
        shortcut_parameters: leaves that only the shortcut uses.
        branch_parameters: leaves that the branch uses, shared ones included.
    """

    fork: Port
    shortcut: str
    shortcut_operand: int
    shortcut_edges: tuple[Edge, ...]
    branch_edges: tuple[Edge, ...]
    mixed_edges: tuple[Edge, ...]
    interior: frozenset[Node]
    shortcut_parameters: tuple[torch.Tensor, ...]
    branch_parameters: tuple[torch.Tensor, ...]

    @property
    def mixed(self) -> bool:
        """Whether the two parts of the gradient mix before they reach the fork."""
        return bool(self.mixed_edges)


def operation(node: Node) -> str:
    """Return the name of a node's operation: 'Relu' for ReluBackward0."""
    return _operation(node.name())


@lru_cache(maxsize=1024)
def _operation(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name.removeprefix("torch::autograd::"))


def function_name(nodes: list[Node]) -> str:
    """Name the function that `nodes` compute, in their order, such as 'identity' or 'batch_norm+relu'."""
    names = [operation(node) for node in nodes]
    words = [
        _NORMALISATION.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        for name in names
        if name not in _LAYOUT
    ]
    if len(words) > 3:
        return "other"
    return "+".join(words) or "identity"


def split_addition(walk: Walk) -> Split | str:
    """Tell shortcut from branch, or say in words why the addition is not a residual unit's.

    Args:
        walk: the walk from the addition's operands.

    Returns:
        the split, or the reason for which the addition is passed over.
    """
    if walk.fork is None:
        return "its operands do not come from one tensor"
    if walk.mixed_outputs:
        return "its operands come from different outputs of one operation (a split or chunk)"
    nodes_of = {side: walk.nodes_of(side) for side in (FIRST, SECOND, BOTH)}
    own = {side: walk.parameters_of(side) for side in (FIRST, SECOND, BOTH)}
    sizes = {side: _size(own[side], nodes_of[side]) for side in (FIRST, SECOND)}
    branch = FIRST if sizes[FIRST] >= sizes[SECOND] else SECOND
    shortcut = BOTH ^ branch
    if not own[branch]:
        return "neither operand passes parameters of its own between the addition and the fork"
    nodes = nodes_of[shortcut]
    foreign = sorted({operation(node) for node in nodes} - _SHORTCUT)
    if foreign:
        return f"both operands are branches: the shorter one holds {', '.join(foreign)}"
    if sizes[shortcut] == sizes[branch]:
        return "both operands are equally long, so that neither is the shortcut"
    weights = sizes[shortcut][0]
    gated = _has_gate([*nodes, *nodes_of[BOTH]])
    if weights > 2:
        return f"both operands are branches: the shorter one holds {weights} weights"
    return Split(
        fork=walk.fork,
        shortcut=_shortcut_kind(nodes, weights, gated),
        shortcut_operand=0 if shortcut == FIRST else 1,
        shortcut_edges=tuple(walk.edges_of(shortcut)),
        branch_edges=tuple(walk.edges_of(branch)),
        mixed_edges=tuple(walk.edges_of(BOTH)),
        interior=frozenset(walk.reached),
        shortcut_parameters=tuple(own[shortcut]),
        branch_parameters=(*own[branch], *own[BOTH]),
    )


def _size(own: list[torch.Tensor], nodes: list[Node]) -> tuple[int, int, int]:
    """Return weights, their elements, and nodes of one side's own: what makes a path the longer one.

    A gate's weight is not one of the path itself. Between two paths of one weight each, a
    1×1 convolution is the shorter beside a 3×3.
    """
    weights = sum(leaf.ndim > 1 for leaf in own) - _has_gate(nodes)
    return max(weights, 0), sum(leaf.numel() for leaf in own), len(nodes)


def _shortcut_kind(nodes: list[Node], weights: int, gated: bool) -> str:
    names = {operation(node) for node in nodes} - _LAYOUT
    if not names:
        return "identity"
    if weights > 0:
        return "projection"
    if names & _PADDING:
        return "padding"
    if gated:
        return "gated"
    if names & {"NativeDropout", "FusedDropout"} or any(_multiplies_by_mask(node) for node in nodes):
        return "dropout"
    if names <= _SCALING:
        return "scaled"
    return "other"


def _has_gate(nodes: list[Node]) -> bool:
    """Whether a gate's sigmoid is among `nodes`."""
    return any(operation(node) == "Sigmoid" for node in nodes)


def _multiplies_by_mask(node: Node) -> bool:
    """Whether `node` multiplies by a tensor that has no gradient: a dropout mask, not a scale."""
    if operation(node) != "Mul" or sum(origin is not None for origin, _ in node.next_functions) != 1:
        return False
    masks = [getattr(node, name, None) for name in ("_saved_self", "_saved_other")]
    return any(isinstance(mask, torch.Tensor) and mask.numel() > 1 for mask in masks)
