"""What a network's author calls a shortcut, for the case in which its graph cannot tell."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor, nn

SHORTCUT_WORDS = {"shortcut", "downsample", "skip", "residual"}
"""Words in a module's name by which its author says that it is a shortcut."""


class ParameterNames:
    """The names of a model's parameters, looked up when one is asked for.

    Args:
        model: the network; None knows no names.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        self._model = model
        self._names: dict[Tensor, str] | None = None

    def say_shortcut(self, parameters: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
        """Whether each of `parameters` belongs to a module that is called a shortcut, none of `others`."""
        called = [self._is_called_shortcut(parameter) for parameter in parameters]
        return bool(called) and all(called) and not any(map(self._is_called_shortcut, others))

    def _is_called_shortcut(self, parameter: Tensor) -> bool:
        if self._names is None:
            named = [] if self._model is None else self._model.named_parameters()
            self._names = {tensor: name for name, tensor in named}
        return not SHORTCUT_WORDS.isdisjoint(re.split(r"[._]|\d+", self._names.get(parameter, "")))
