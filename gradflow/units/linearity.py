"""Is a path between the fork and the addition linear in x_l?

W x + V x is (W + V) x: where the branch is a linear map as the projection beside it is, their sum is one
linear map, and neither is a shortcut around anything. So it is with low-rank adapters (LoRA), with the
parallel convolutions of a network that is re-parametrised after training, with relative positions' logits,
and with the two heads of a dueling network. Beside x itself a linear branch is a branch: of I + V the
identity is told, and He et al. 2016 have units of one layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch.autograd.graph import Node

from gradflow.units.operations import (
    BORDERS,
    DROPOUT,
    LAYOUT,
    NORMALISATION,
    PADDING,
    PROJECTION,
    SCALING,
    operation,
)

_BATCH_NORMALISATION = {name for name, word in NORMALISATION.items() if word == "batch_norm"}
"""With its statistics held it scales and shifts, and a convolution takes it up; others do not."""

_SUMS = {"Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "Cumsum"}

_SELECTIONS = {
    "Slice", "Select", "Index", "IndexSelect", "Gather", "Split", "SplitWithSizes", "Unbind", "Stack", "Roll",
    "Flip", "Unfold", "UnsafeSplit", "Tril", "Triu", "MaskedFill", "Diagonal", "Narrow", "PixelShuffle",
    "PixelUnshuffle",
}  # fmt: skip

_RESAMPLING = {
    "AvgPool1D", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D", "UpsampleNearest1D", "UpsampleNearest2D",
    "UpsampleBilinear2D", "UpsampleBicubic2D", "Im2Col", "Col2Im",
}  # fmt: skip

_LINEAR = LAYOUT | PADDING | BORDERS | DROPOUT | _BATCH_NORMALISATION | _SUMS | _SELECTIONS | _RESAMPLING
"""What is linear in its inputs, or affine."""

_PRODUCTS = SCALING | PROJECTION | {"Mv"}
_PRODUCTS_ADDED = {"Addmm", "Baddbmm", "Addbmm", "Addmv", "Addcmul"}
"""What is linear as long as no more than one factor holds x_l; the latter add something else to a product."""


def nonlinear(nodes: Iterable[Node], made_of_x: Collection[Node]) -> list[Node]:
    """Return those of `nodes` that are not linear in x_l.

    Args:
        nodes: of a path.
        made_of_x: the fork's node, and all nodes that x_l goes into. What else a path reads is held.
    """
    return [node for node in nodes if node in made_of_x and not _is_linear(node, made_of_x)]


def _is_linear(node: Node, made_of_x: Collection[Node]) -> bool:
    name = operation(node)
    if name not in _PRODUCTS | _PRODUCTS_ADDED:
        return name in _LINEAR
    origins = [origin in made_of_x for origin, _ in node.next_functions]
    if name == "Div":
        return not any(origins[1:])
    return sum(origins[1:] if name in _PRODUCTS_ADDED else origins[:2]) < 2
