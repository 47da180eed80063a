"""Leaving a model as it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from gradflow.units.submodules import Modules, submodules

_SMALL = 4096
"""Elements of a buffer up to which it is copied together with others."""


@contextmanager
def preserved_model(model: nn.Module, modules: Modules | None = None) -> Iterator[None]:
    """Put buffers and training flags back when the context closes, also after an exception.

    Batch normalisation writes its running statistics in every training-mode forward pass.

    Args:
        model: the network.
        modules: its `submodules`, if somebody has asked for them.
    """
    modules = submodules(model) if modules is None else modules
    modes = [(module, module.training) for _, module in modules]
    buffers = [
        (module, name, buffer)
        for _, module in modules
        for name, buffer in module._buffers.items()  # noqa: SLF001 - named_buffers leaves out None
    ]
    saved = _Copies([buffer for _, _, buffer in buffers if buffer is not None])
    try:
        yield
    finally:
        for module, mode in modes:
            if module.training is not mode:
                module.training = mode
        for module, name, buffer in buffers:
            module._buffers[name] = buffer  # noqa: SLF001 - forward may have put another in its place
        saved.restore()


class _Copies:
    """What buffers hold. A network has hundreds of a few numbers each, copied and compared together.

    Args:
        buffers: to be copied now.
    """

    def __init__(self, buffers: list[Tensor]) -> None:
        alike: dict[Hashable, list[Tensor]] = defaultdict(list)
        self._others: list[Tensor] = []
        for buffer in buffers:
            # On other devices every look at a value would wait for it.
            plain = type(buffer) is Tensor and buffer.layout is torch.strided and not buffer.is_quantized
            plain = plain and not buffer.is_conj() and not buffer.is_neg()
            small = plain and buffer.is_cpu and buffer.numel() <= _SMALL
            group = alike[buffer.shape, buffer.dtype] if small else self._others
            group.append(buffer.detach())  # which stays what it is where forward resizes the buffer
        with torch.no_grad():
            self._together = [(group, torch.stack(group)) for group in alike.values()]
            self._copies = [buffer.clone() for buffer in self._others]

    def restore(self) -> None:
        """Write into the buffers what they held."""
        for group, saved in self._together:
            if not torch.equal(_bits(torch.stack(group)), _bits(saved)):
                with _writing(group):
                    torch._foreach_copy_(group, saved.unbind())
        for buffer, copy in zip(self._others, self._copies, strict=True):
            with _writing([buffer]):
                buffer.copy_(copy)


def _writing(buffers: list[Tensor]) -> AbstractContextManager[None]:
    """Allow writing to buffers; what was made in inference mode cannot be written to outside of it."""
    return torch.inference_mode() if any(map(torch.is_inference, buffers)) else torch.no_grad()


def _bits(value: Tensor) -> Tensor:
    return value.view(torch.uint8)
