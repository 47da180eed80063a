"""Somebody else's backward pass: being told of it, and what each parameter gets in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class BackwardMode(TorchFunctionMode):
    """Shows every call of `backward` to `seen`, which runs it.

    Args:
        seen: is given the call but for its named arguments, what is differentiated, and those.
    """

    def __init__(self, seen: Callable[[Callable[..., Any], Sequence[Any], dict[str, Any]], Any]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`."""
        kwargs = kwargs or {}
        if func is Tensor.backward or func is torch.autograd.backward:
            roots = args[0] if isinstance(args[0], (tuple, list)) else (args[0],)
            return self._seen(partial(func, *args), roots, kwargs)
        return func(*args, **kwargs)


def leave(mode: TorchFunctionMode) -> None:
    """Take `mode` off the stack of function modes, wherever in it it is: others may have come after it."""
    above: list[Any] = []
    current = torch.overrides._get_current_function_mode  # noqa: SLF001 - no public name
    while (top := current()) is not None:  # type: ignore[no-untyped-call] # torch does not annotate it
        torch.overrides._pop_mode()  # type: ignore[no-untyped-call] # noqa: SLF001 - as above
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        torch.overrides._push_mode(other)  # type: ignore[no-untyped-call] # noqa: SLF001 - as above


def differentiate(
    run: Callable[..., Any], parameters: list[Tensor], again: bool, *, averaged: bool = False
) -> Sequence[Tensor | None]:
    """Run a user's backward pass and return what each parameter got in it.

    Args:
        run: the pass.
        parameters: whose gradients are wanted.
        again: whether the graph is to be kept.
        averaged: whether `.grad` may be another gradient after the pass: an average over processes.
    """
    arrived: dict[int, Tensor] = {}

    def keep(index: int, gradient: Tensor) -> None:
        arrived[index] = gradient

    own = [not averaged and _gets_its_own(parameter) for parameter in parameters]
    fresh = {index for index, is_own in enumerate(own) if is_own}
    with ExitStack() as stack:
        for index, parameter in enumerate(parameters):
            if index not in fresh:
                hook = parameter.register_hook(partial(keep, index))  # type: ignore[no-untyped-call] # torch does not annotate it
                stack.callback(hook.remove)
        run(**({"retain_graph": True} if again else {}))
    return [
        parameter.grad if index in fresh else arrived.get(index) for index, parameter in enumerate(parameters)
    ]


def _gets_its_own(parameter: Tensor) -> bool:
    """Whether `.grad` will be this pass's gradient alone, and still be there after it.

    It is added to what is there from an earlier pass, and an optimiser that runs in the backward
    pass may take it away.
    """
    return parameter.grad is None and not getattr(parameter, "_post_accumulate_grad_hooks", None)
