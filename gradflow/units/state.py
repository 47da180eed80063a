"""Leaving a model as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def preserved_model(model: nn.Module) -> Iterator[None]:
    """Put buffers and training flags back when the context closes, also after an exception.

    Batch normalisation writes its running statistics in every training-mode forward pass.
    """
    modules = list(model.modules())
    modes = [(module, module.training) for module in modules]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in modules
        for name, buffer in module._buffers.items()  # noqa: SLF001 - named_buffers leaves out None
    ]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for module, name, buffer, saved in buffers:
                module._buffers[name] = buffer  # noqa: SLF001 - forward may have put another in its place
                if buffer is not None and saved is not None:
                    buffer.copy_(saved)
