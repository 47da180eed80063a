"""Everything of a model and of the process that a measurement must leave as it was."""

from __future__ import annotations

import gc
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Snapshot:
    """The state of a model and of the process's random generators, bit for bit.

    Args:
        model: whose parameters, buffers, gradients, modes and hooks are remembered.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._state = _state(model)

    def assert_unchanged(self) -> None:
        """Insist that all of it is what it was; the message says what is not."""
        now = _state(self._model)
        changed = [what for what, value in self._state.items() if not _same(value, now[what])]
        assert not changed, f"changed: {', '.join(changed)}"
        assert now.keys() == self._state.keys()


def _state(model: nn.Module) -> dict[str, Any]:
    state: dict[str, Any] = {
        "Python's random state": random.getstate(),
        "NumPy's random state": np.random.get_state()[1].tobytes(),  # noqa: NPY002 - it is what is watched
        "torch's random state": torch.random.get_rng_state().clone(),
        "garbage collection": gc.isenabled(),
        "gradient mode": torch.is_grad_enabled(),
    }
    for name, parameter in model.named_parameters():
        state[f"parameter {name}"] = parameter.detach().clone()
        state[f"identity of {name}"] = id(parameter)
        state[f"requires_grad of {name}"] = parameter.requires_grad
        state[f"gradient of {name}"] = None if parameter.grad is None else parameter.grad.clone()
        state[f"tensor hooks of {name}"] = len(parameter._backward_hooks or ())
    for name, buffer in model.named_buffers():
        state[f"buffer {name}"] = buffer.clone()
    for name, module in model.named_modules():
        state[f"mode of {name}"] = module.training
        for kind, hooks in vars(module).items():
            if "hooks" in kind and hasattr(hooks, "__len__"):
                state[f"{kind} of {name}"] = list(hooks)
    return state


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        same_kind = before.dtype == after.dtype and before.shape == after.shape
        return same_kind and before.cpu().numpy().tobytes() == after.cpu().numpy().tobytes()
    return bool(before == after)
