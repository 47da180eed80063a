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

from gradflow.units.graph import BOTH, FIRST, SECOND, Edge, Port, Walk, is_leaf, order

_LAYOUT = {
    "View", "Reshape", "ReshapeAlias", "UnsafeView", "Permute", "Transpose", "T", "Expand", "Repeat", "Clone",
    "ToCopy", "Alias", "Squeeze", "Unsqueeze", "AsStrided", "Unflatten", "Contiguous",
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
_SUBSAMPLING = {
    "Slice", "AvgPool2D", "AvgPool3D", "MaxPool2DWithIndices", "Mean", "Index", "AdaptiveAvgPool2D",
}  # fmt: skip
_SCALING = {"Mul", "Div"}
_GATE = {"Sigmoid", "Hardsigmoid", "Rsub", "Sub", "Neg", "Add"}
_SLICES = {"Slice", "Select", "Narrow"}
_SWITCHES = {"Sigmoid", "Hardsigmoid", "Softmax"}
_SHORTCUT = _LAYOUT | set(_NORMALISATION) | _PROJECTION | _PADDING | _SUBSAMPLING | _SCALING | _GATE | {
    "NativeDropout", "FusedDropout", "Roll",
}  # fmt: skip
"""All that may stand on a shortcut."""

_RESCALING = _LAYOUT | _SCALING | {
    "Add", "Sub", "Addcmul", "LinalgVectorNorm", "Norm", "Mean", "Sum", "Var", "Std", "Pow", "Sqrt", "Rsqrt",
    "ClampMin", "Clamp", "Maximum",
}  # fmt: skip
"""What a normalisation is written with: a branch of nothing else only scales and shifts x_l."""


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
        side_inputs: nodes of values from before the fork that the branch reads beside x_l.
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
    side_inputs: frozenset[Node] = frozenset()

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
    if walk.side_inputs and operation(walk.fork.node) in _SWITCHES:
        return "what its operands share is a gate, not a signal"
    nodes_of = {side: walk.nodes_of(side) for side in (FIRST, SECOND, BOTH)}
    own = {side: walk.parameters_of(side) for side in (FIRST, SECOND, BOTH)}
    sizes = {side: _size(own[side], nodes_of[side]) for side in (FIRST, SECOND)}
    branch = walk.reads_beside or (FIRST if sizes[FIRST] >= sizes[SECOND] else SECOND)
    shortcut = BOTH ^ branch
    if not own[branch] and not sizes[branch][0]:
        return "neither operand passes parameters of its own between the addition and the fork"
    nodes = nodes_of[shortcut]
    foreign = sorted({operation(node) for node in nodes} - _SHORTCUT)
    if any(is_product_of_values(node) for node in nodes):
        foreign.append("a product of values")
    if foreign:
        return f"both operands are branches: the shorter one holds {', '.join(foreign)}"
    if sizes[shortcut] == sizes[branch]:
        return "both operands are equally long, so that neither is the shortcut"
    weights = sizes[shortcut][0]
    if weights > 2:
        return f"both operands are branches: the shorter one holds {weights} weights"
    reason = _why_no_shortcut(walk, shortcut, own[shortcut]) or _why_no_branch(
        walk, [*nodes_of[branch], *nodes_of[BOTH]]
    )
    if reason:
        return reason
    return Split(
        fork=walk.fork,
        shortcut=_shortcut_kind(nodes, weights, _has_gate([*nodes, *nodes_of[BOTH]])),
        shortcut_operand=0 if shortcut == FIRST else 1,
        shortcut_edges=tuple(walk.edges_of(shortcut)),
        branch_edges=tuple(walk.edges_of(branch)),
        mixed_edges=tuple(walk.edges_of(BOTH)),
        interior=frozenset(walk.reached),
        shortcut_parameters=tuple(own[shortcut]),
        branch_parameters=(*own[branch], *own[BOTH]),
        side_inputs=walk.side_inputs,
    )


def _why_no_shortcut(walk: Walk, side: int, own: list[torch.Tensor]) -> str | None:
    """Return why what would be the shortcut is none: it does not come from the fork by a way of its own."""
    nodes = walk.nodes_of(side)
    # Without a node of its own it must be the fork itself, not another value that the branch reads.
    if not walk.edges_of(side) and (nodes or not walk.starts_at_fork(side)):
        return "the shorter operand has no way of its own to the fork: it is made of what the branch reads"
    if walk.edges_of(side) and all(operation(edge.consumer) in _SLICES for edge in walk.edges):
        return "its operands are different slices of one tensor"
    projections = [node for node in nodes if operation(node) in _PROJECTION]
    if projections and not any(leaf.ndim > 1 for leaf in own) and not all(map(_is_frozen, projections)):
        return "the shorter operand projects with a weight that the branch uses too"
    return None


def _why_no_branch(walk: Walk, nodes: list[Node]) -> str | None:
    """Return why what would be the branch is none, though it has parameters."""
    names = {operation(node) for node in nodes}
    if names <= _RESCALING | set(_NORMALISATION):
        return "the longer operand only scales and shifts the shorter one, as a normalisation does"
    if _is_added_parameter(walk):
        return "its shorter operand is a parameter that the branch adds, too: an embedding of positions"
    if walk.side_inputs and _adds_another_stream(walk):
        return "the branch reads the sum of another stream: coupled streams, as in a reversible network"
    return None


def _is_added_parameter(walk: Walk) -> bool:
    """Whether x_l is nothing but a parameter, and the branch begins by adding it to something."""
    assert walk.fork is not None
    node = walk.fork.node
    embedded = operation(node) == "Embedding" and all(
        origin is None or is_leaf(origin) for origin, _ in node.next_functions
    )
    return (embedded or _is_made_of_leaves(node)) and any(
        operation(edge.consumer) == "Add" for edge in walk.edges
    )


def _adds_another_stream(walk: Walk) -> bool:
    """Whether a value of x_l's kind from before the fork is added to something made from x_l.

    In a reversible network y₁ = x₁ + F(y₂), y₂ = x₂ + G(x₁): each stream's branch holds the other
    stream's addition. Positions that are added to x_l itself are no such thing.
    """
    fork = walk.fork
    assert fork is not None
    made_from_fork: set[Node] = set()
    for node in sorted(walk.reached, key=order):
        origins = [origin for origin, _ in node.next_functions if origin is not None]
        if operation(node) == "Add" and len(origins) == 2:
            for stream, other in (origins, reversed(origins)):
                if stream in walk.side_inputs and other in made_from_fork and _holds(other, fork):
                    return True
        if any(origin is fork.node or origin in made_from_fork for origin in origins):
            made_from_fork.add(node)
    return False


def _holds(node: Node, fork: Port) -> bool:
    """Whether a result of `node` has the shape of x_l."""
    return any(torch.Size(kind.shape) == fork.shape for kind in node._input_metadata)  # noqa: SLF001 - documented


def _size(own: list[torch.Tensor], nodes: list[Node]) -> tuple[int, int, int]:
    """Return projections, elements of parameters, and nodes of one side's own: what makes a path longer.

    A gate's weight is not one of the path itself. Between two paths of one weight each, a
    1×1 convolution is the shorter beside a 3×3. Projections are counted by what they do, since
    a frozen weight has no leaf in the graph.
    """
    weights = sum(operation(node) in _PROJECTION and not is_product_of_values(node) for node in nodes)
    return max(weights - _has_gate(nodes), 0), sum(leaf.numel() for leaf in own), len(nodes)


def is_product_of_values(node: Node) -> bool:
    """Whether `node` multiplies two values of the forward pass, as attention's scores are made."""
    if operation(node) not in {"Bmm", "Mm"}:
        return False
    return all(origin is not None and not _is_made_of_leaves(origin) for origin, _ in node.next_functions)


def _is_made_of_leaves(node: Node) -> bool:
    """Whether nothing but parameters, moved about, goes into `node`."""
    while not is_leaf(node):
        origins = [origin for origin, _ in node.next_functions if origin is not None]
        if len(origins) != 1 or operation(node) not in _LAYOUT:
            return False
        node = origins[0]
    return True


def _is_frozen(node: Node) -> bool:
    """Whether a projection's weight has no history: all that it hands a gradient to is its input."""
    return sum(origin is not None for origin, _ in node.next_functions) == 1


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
