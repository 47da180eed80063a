"""Which network of the zoo a set of weights belongs to, told from names and shapes alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import nn

from gradflow.models.activations import ORDERINGS
from gradflow.models.building import empty_network
from gradflow.models.specification import FAMILIES, LAYERS, MAX_DEPTH, ModelSpec

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor of a state dict, by name."""

_SHORTCUTS = ("identity", "conv", "gate:exclusive,-6", "gate:shortcut,-6")
"""One variant for each set of parameters a shortcut can have; scales and dropout have none."""


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors in the model's state dict, buffers included."""
    return {name: tuple(value.shape) for name, value in model.state_dict().items() if hasattr(value, "shape")}


def recognise(shapes: Shapes) -> ModelSpec | None:
    """Return the network of the zoo whose state dict has exactly these names and shapes.

    Variants without parameters of their own (scales, dropout; in basic networks, which pad, also
    `none`, `relu-before` and `relu-only`) cannot be told from the plainest network that has the
    same parameters, which is what is returned.

    Args:
        shapes: shape of each tensor, by name.

    Returns:
        the specification, or None if the weights are no zoo network's.
    """
    outline = _outline(shapes)
    if outline is None:
        return None
    # Two units a stage tell the variant: candidates are compared on these, and only the one
    # that is left is built in its full depth.
    small = replace(outline, depth=min(outline.depth, 6 * LAYERS[outline.unit] + 2))
    beginning = {name: shape for name, shape in shapes.items() if _position(name) < small.units_per_stage}
    for variant in _variants(small):
        if shapes_of(empty_network(variant)) == beginning:
            spec = replace(variant, depth=outline.depth)
            return spec if shapes_of(empty_network(spec)) == dict(shapes) else None
    return None


def _outline(shapes: Shapes) -> ModelSpec | None:
    """Return depth, unit, width and ends of the network, as far as the first stage and the ends tell."""
    stem, head = shapes.get("stem.conv.weight", ()), shapes.get("head.weight", ())
    layers = len([name for name in shapes if re.fullmatch(r"stage1\.0\.branch\.conv\d+\.weight", name)])
    unit = next((unit for unit, count in LAYERS.items() if count == layers), None)
    units = 1 + max((_position(name) for name in shapes if name.startswith("stage1.")), default=-1)
    if len(stem) != 4 or len(head) != 2 or unit is None or units == 0:
        return None
    depth = 3 * layers * units + 2
    if depth > MAX_DEPTH:
        return None
    return ModelSpec("resnet", depth, unit, num_classes=head[0], width=stem[0], in_channels=stem[1])


def _variants(outline: ModelSpec) -> Iterator[ModelSpec]:
    """Yield the outline with each set of parameters that a zoo network can have, the plainest first."""
    for shortcut in _SHORTCUTS:
        for activation in ORDERINGS:
            family = "preact" if activation == FAMILIES["preact"] else "resnet"
            yield replace(outline, family=family, shortcut=shortcut, activation=activation)
    for activation in ORDERINGS:
        yield replace(outline, family="plain", shortcut="none", activation=activation)


def _position(name: str) -> int:
    """Return the index of the unit in its stage that a tensor belongs to; −1 outside the stages."""
    match = re.match(r"stage\d+\.(\d{1,4})\.", name)
    return int(match[1]) if match else -1
