"""The modules of a network, each once."""

from __future__ import annotations

from torch import Tensor, nn

Modules = list[tuple[str, nn.Module]]
"""Modules by their qualified names."""


def parameters_by_name(model: nn.Module, modules: Modules) -> dict[str, Tensor]:
    """Return what `model.named_parameters()` yields.

    Args:
        model: the network.
        modules: its `submodules`.
    """
    kind = type(model)
    if (kind.named_parameters, kind.named_modules) != (nn.Module.named_parameters, nn.Module.named_modules):
        return dict(model.named_parameters())  # somebody has names of his own
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, module in modules:
        prefix = f"{name}." if name else ""
        for own, parameter in module._parameters.items():  # noqa: SLF001 - as below
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                found[prefix + own] = parameter
    return found


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
