"""What the nodes of the autograd graph are called, and what kinds of operation there are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

import torch
from torch.autograd.graph import Node

from gradflow.units.graph import is_leaf, order

LAYOUT = {
    "View", "Reshape", "ReshapeAlias", "UnsafeView", "Permute", "Transpose", "T", "Expand", "Repeat", "Clone",
    "ToCopy", "Alias", "Squeeze", "Unsqueeze", "AsStrided", "Unflatten", "Contiguous",
    "BackwardHookFunction",  # stands where somebody's full backward hook on a module is
}  # fmt: skip
"""Nodes that move values or change their type, and compute nothing."""

NORMALISATION = {
    "NativeBatchNorm": "batch_norm", "CudnnBatchNorm": "batch_norm", "MiopenBatchNorm": "batch_norm",
    "BatchNormWithUpdate": "batch_norm", "NativeLayerNorm": "layer_norm", "NativeGroupNorm": "group_norm",
    "FusedRmsNorm": "rms_norm",
}  # fmt: skip
"""Normalisations, and what they are called in a record."""

PROJECTION_BY_WEIGHT = {"Convolution", "MkldnnConvolution", "CudnnConvolution", "Addmm", "Linear"}
_PRODUCT = {"Mm", "Bmm"}
"""These multiply two values as well as a value and a weight."""
PROJECTION = PROJECTION_BY_WEIGHT | _PRODUCT
PADDING = {"ConstantPadNd", "Cat", "Constant"}
BORDERS = {
    f"{kind}Pad{dimensions}D" for kind in ("Reflection", "Replication") for dimensions in (1, 2, 3)
}  # fmt: skip
"""What a convolution pads with that does not pad with zeros."""
AVERAGING = {"AvgPool2D", "AvgPool3D", "Mean", "AdaptiveAvgPool2D"}
POOLING = {"MaxPool2DWithIndices", "MaxPool3DWithIndices", "Amax"} | AVERAGING
SUBSAMPLING = {"Slice", "Index"} | POOLING
SCALING = {"Mul", "Div"}
GATE = {"Sigmoid", "Hardsigmoid", "Rsub", "Sub", "Neg", "Add"}
SLICES = {"Slice", "Select", "Narrow"}
SWITCHES = {"Sigmoid", "Hardsigmoid", "Softmax"}
FOURIER = {"FftC2C", "FftR2C", "FftC2R"}
POSITIVE = {"Exp", "Softplus", "Sqrt"}
"""What a standard deviation is made with."""
DROPOUT = {"NativeDropout", "FusedDropout"}

ON_A_SHORTCUT = (
    LAYOUT
    | set(NORMALISATION)
    | PROJECTION
    | PADDING
    | BORDERS
    | SUBSAMPLING
    | SCALING
    | GATE
    | DROPOUT
    | {"Roll"}
)
"""All that may stand on a shortcut."""

RESCALING = LAYOUT | set(NORMALISATION) | SCALING | {
    "Add", "Sub", "Addcmul", "LinalgVectorNorm", "Norm", "Mean", "Sum", "Var", "Std", "Pow", "Sqrt", "Rsqrt",
    "ClampMin", "Clamp", "Maximum",
}  # fmt: skip
"""What a normalisation is written with: a branch of nothing else only scales and shifts x_l."""


class _Operations(dict[str, str]):
    """Operations by the names of their nodes. Each is asked for some dozens of times a unit."""

    def __missing__(self, name: str) -> str:
        self[name] = found = re.sub(r"Backward\d*$", "", name.removeprefix("torch::autograd::"))
        return found


_OPERATIONS = _Operations()


def operation(node: Node) -> str:
    """Return the name of a node's operation: 'Relu' for ReluBackward0."""
    return _OPERATIONS[node.name()]


def words_for(nodes: Iterable[Node]) -> list[str]:
    """Return what each of `nodes` computes, in words such as 'batch_norm'; moving values is nothing."""
    names = [operation(node) for node in nodes]
    return [_word(name) for name in names if name not in LAYOUT]


@lru_cache(maxsize=1024)
def _word(name: str) -> str:
    return NORMALISATION.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def function_name(nodes: list[Node]) -> str:
    """Name the function that `nodes` compute, in their order, such as 'identity' or 'batch_norm+relu'."""
    words = words_for(nodes)
    if len(words) > 3:
        return "other"
    return "+".join(words) or "identity"


def projections(nodes: Iterable[Node], values: Collection[Node]) -> list[Node]:
    """Return those of `nodes` that multiply a value by a weight.

    Args:
        nodes: of a walk.
        values: what the walk says that values are.
    """
    return [
        node for node in nodes if operation(node) in PROJECTION and not is_product_of_values(node, values)
    ]


def is_product_of_values(node: Node, values: Collection[Node] | None = None) -> bool:
    """Whether `node` multiplies two values of the forward pass, as attention's scores are made.

    Args:
        node: any.
        values: what a walk says that values are; None where there was none, so that all is one but for
            a parameter itself.
    """
    return operation(node) in _PRODUCT and _reads_two(node, values)


def is_gated(node: Node, values: Collection[Node]) -> bool:
    """Whether `node` multiplies two values of the forward pass element by element, as FiLM does."""
    return operation(node) in SCALING and _reads_two(node, values)


def _reads_two(node: Node, values: Collection[Node] | None) -> bool:
    origins = [origin for origin, _ in node.next_functions]
    if values is not None and not all(origin in values for origin in origins):
        return False
    return all(origin is not None and not is_made_of_leaves(origin) for origin in origins)


def is_made_of_leaves(node: Node) -> bool:
    """Whether nothing but a parameter, moved about or looked up, goes into `node`."""
    while not is_leaf(node):
        origins = [origin for origin, _ in node.next_functions if origin is not None]
        if len(origins) != 1 or operation(node) not in LAYOUT | {"Embedding"}:
            return False
        node = origins[0]
    return True


def is_frozen(node: Node) -> bool:
    """Whether a projection's weight has no history: all that it hands a gradient to is its input."""
    return sum(origin is not None for origin, _ in node.next_functions) == 1


def has_gate(nodes: Iterable[Node]) -> bool:
    """Whether a gate's sigmoid is among `nodes`."""
    return any(operation(node) == "Sigmoid" for node in nodes)


def pads(nodes: Collection[Node]) -> bool:
    """Whether `nodes` make a value larger: not where nothing is added, or a pooling pads its own input."""
    padding = [node for node in nodes if operation(node) in PADDING and any(getattr(node, "_saved_pad", [1]))]
    pooled = min((order(node) for node in nodes if operation(node) in POOLING), default=None)
    return any(pooled is None or order(node) > pooled for node in padding)


def averages(nodes: Iterable[Node]) -> bool:
    """Whether something among `nodes` pools by averaging, which is a linear map."""
    return any(operation(node) in AVERAGING for node in nodes)


def has_switch(nodes: Iterable[Node]) -> bool:
    """Whether something among `nodes` opens or closes a gate, whatever its form."""
    return any(operation(node) in SWITCHES for node in nodes)


def multiplies_by_mask(node: Node) -> bool:
    """Whether `node` multiplies by a tensor that has no gradient: a dropout mask, not a scale."""
    if operation(node) != "Mul" or sum(origin is not None for origin, _ in node.next_functions) != 1:
        return False
    masks = [getattr(node, name, None) for name in ("_saved_self", "_saved_other")]
    return any(isinstance(mask, torch.Tensor) and mask.numel() > 1 for mask in masks)
