"""The modules of a network, each once."""

from __future__ import annotations

from torch import nn

Modules = list[tuple[str, nn.Module]]
"""Modules by their qualified names."""


def submodules(model: nn.Module) -> Modules:
    """Return what `model.named_modules()` yields, in its order.

    A probe asks several times, and torch's generator, one within the other at each level, takes thrice as
    long as everything else that is done with the modules.
    """
    found: Modules = []
    seen: set[nn.Module] = set()
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        found.append((name, module))
        children = module._modules  # noqa: SLF001 - named_children is as slow
        if children:
            prefix = f"{name}." if name else ""
            waiting += [(prefix + child, one) for child, one in reversed(children.items()) if one is not None]
    return found
