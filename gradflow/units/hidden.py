"""Code that runs where no function mode sees it: TorchScript functions, and reentrant checkpointing.

Reentrant checkpointing is refused wherever it is called while gradients are on, since the network may hand
on what comes out of it without another operation. Of a TorchScript function that adds two tensors it is
said that nothing in it can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

from gradflow.errors import ProbeError

REENTRANT = "CheckpointFunctionBackward"
"""The node of what comes out of reentrant checkpointing, torch's and that of others."""


def refuse_reentrant() -> None:
    """Refuse reentrant checkpointing.

    Raises:
        ProbeError: always.
    """
    raise ProbeError(
        "reentrant activation checkpointing hides the units inside it; "
        "call torch.utils.checkpoint.checkpoint with use_reentrant=False"
    )


_notes: list[Callable[[str, Tensor], None]] = []
"""Of those who want to know now. They may leave in another order than they came in."""

_SCRIPT_CALL = torch.jit.ScriptFunction.__call__


@contextmanager
def noticing_hidden_code(note: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Refuse reentrant checkpointing, and hear of TorchScript functions that add, while the context is open.

    Args:
        note: is told the name of such a function, and what it returned.
    """
    if not _notes:
        _watch()
    _notes.append(note)
    try:
        yield
    finally:
        _notes.remove(note)
        if not _notes:
            _unwatch()


def _watch() -> None:
    def call(function: Any, *args: Any, **kwargs: Any) -> Any:
        result = _SCRIPT_CALL(function, *args, **kwargs)
        if isinstance(result, Tensor) and result.grad_fn is not None and _adds(function):
            for note in _notes:
                note(function.name, result)
        return result

    def apply(*args: Any, **kwargs: Any) -> Any:
        if torch.is_grad_enabled():
            refuse_reentrant()
        return super(CheckpointFunction, CheckpointFunction).apply(*args, **kwargs)

    _replace(torch.jit.ScriptFunction, "__call__", call)
    _replace(CheckpointFunction, "apply", apply)


def _unwatch() -> None:
    _replace(torch.jit.ScriptFunction, "__call__", _SCRIPT_CALL)
    del CheckpointFunction.apply


def _replace(owner: type, name: str, function: Any) -> None:
    setattr(owner, name, function)


def _adds(function: Any) -> bool:
    """Whether a TorchScript function adds two tensors, rather than a number to one."""
    graph, tensor = function.inlined_graph, torch._C.TensorType.get()  # noqa: SLF001 - there is no public name
    nodes = [node for kind in ("aten::add", "aten::add_") for node in graph.findAllNodes(kind)]
    operands = [[value.type() for value in list(node.inputs())[:2]] for node in nodes]
    return any(all(kind.isSubtypeOf(tensor) for kind in kinds) for kinds in operands)
