"""How a model is called: a tensor, a tuple or a dict of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return `value` with every tensor in it changed; tuples, lists and dicts are walked."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(item, change) for item in value)
    return value


def traceable(inputs: Inputs) -> tuple[Inputs, list[Tensor]]:
    """Give floating-point inputs a history, so that a unit may fork at the network's input.

    Returns:
        the inputs to call the model with, and the leaves behind them. The leaves get a
        gradient only if somebody asks for one, so this costs no backward computation.
    """
    leaves: list[Tensor] = []

    def with_history(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        leaf = (value.clone() if value.is_inference() else value.detach()).requires_grad_()
        leaves.append(leaf)
        with torch.enable_grad():
            return leaf.clone()

    return map_tensors(inputs, with_history), leaves


def call_model(model: nn.Module, inputs: Inputs) -> Any:
    """Call `model` with `inputs`: a dict by keyword, a tuple or list by position."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


def batch_size(inputs: Inputs) -> int:
    """Return the length of the first dimension of the first tensor of `inputs`."""
    sizes: list[int] = []

    def measure(value: Tensor) -> Tensor:
        sizes.append(value.shape[0] if value.ndim else 1)
        return value

    map_tensors(inputs, measure)
    return sizes[0] if sizes else 0
