"""Hooks on a module that its copies do not get.

Somebody's training loop may copy its network at any moment: for an average of its weights
(`torch.optim.swa_utils.AveragedModel`), or to keep the best so far, by `copy.deepcopy` or
`torch.save`. Such a copy is to be the network as it would have been without hooks of ours, which
would measure the copy, and could not be pickled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

_REDUCE = "__reduce_ex__"
"""What `copy` and `pickle` ask an object for; on the object itself before its class."""


class _Uncopied:
    """Stands in for the reduction of a module's dictionary of hooks, and leaves some of them out.

    Args:
        hooks: the dictionary.
    """

    def __init__(self, hooks: OrderedDict[int, Any]) -> None:
        self.left_out: set[int] = set()
        self._hooks = hooks

    def __call__(self, protocol: int) -> tuple[Any, ...]:
        """Return how to make the dictionary again, in the form of `object.__reduce_ex__`."""
        return OrderedDict, (), None, None, self._kept()

    def _kept(self) -> Iterator[tuple[int, Any]]:
        return iter([(key, hook) for key, hook in self._hooks.items() if key not in self.left_out])


class UncopiedHook:
    """A hook that is in place until `remove`, and in no copy of its module.

    The dictionaries that torch has the hook in stay what they are, since whoever else registers a hook gets a
    handle that refers to them; they are told how to be copied, as long as the hook is there.

    Args:
        module: that the hook was registered on.
        handle: what registering it returned.
    """

    def __init__(self, module: nn.Module, handle: RemovableHandle) -> None:
        self._handle = handle
        self._within: list[OrderedDict[int, Any]] = [
            hooks
            for hooks in vars(module).values()
            if isinstance(hooks, OrderedDict) and handle.id in hooks  # none else has such numbers for keys
        ]
        for hooks in self._within:
            vars(hooks).setdefault(_REDUCE, _Uncopied(hooks)).left_out.add(handle.id)

    def remove(self) -> None:
        """Take the hook away."""
        self._handle.remove()
        for hooks in self._within:
            uncopied = vars(hooks)[_REDUCE]
            uncopied.left_out.discard(self._handle.id)
            if not uncopied.left_out:
                del vars(hooks)[_REDUCE]
        self._within.clear()
