"""Leaving a model as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from gradflow.units.submodules import submodules


@contextmanager
def preserved_model(model: nn.Module) -> Iterator[None]:
    """Put buffers and training flags back when the context closes, also after an exception.

    Batch normalisation writes its running statistics in every training-mode forward pass.
    """
    modules = [module for _, module in submodules(model)]
    modes = [module.training for module in modules]
    buffers = [
        (module, name, buffer)
        for module in modules
        for name, buffer in module._buffers.items()  # noqa: SLF001 - named_buffers leaves out None
    ]
    held = [buffer.detach() for _, _, buffer in buffers if buffer is not None]
    saved = [buffer.clone() for buffer in held]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            if module.training is not mode:
                module.training = mode
        for module, name, buffer in buffers:
            module._buffers[name] = buffer  # noqa: SLF001 - forward may have put another in its place
        if held:
            torch._foreach_copy_(held, saved)
