"""torch's own simple modules run as one operation each, unseen from inside.

A function mode is told of every call on tensors, and telling it costs more than many of these calls do: a
`BatchNorm2d` makes three. No residual addition stands in a convolution, a normalisation or an activation,
so for the time of a pass their `forward` is run outside the mode, which is then shown what went in and
what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as everywhere
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.overrides import _get_current_function_mode

from gradflow.units.submodules import Modules
from gradflow.units.tracing import UnitTracer

Admits = Callable[[_BatchNorm], bool]
"""Whether a batch normalisation that is about to run may run as torch has it."""

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_COMPUTE_NOTHING = (nn.Identity, LazyModuleMixin, *_CONTAINERS)


@contextmanager
def leaves_as_one(modules: Modules, tracer: UnitTracer, admits: Admits) -> Iterator[None]:
    """Run torch's own simple modules among `modules` unseen from inside while the context is open.

    So are sequences of nothing else, in which a value is used once, by the module after it.

    Args:
        modules: of the network whose forward pass happens inside.
        tracer: sees what goes into each of them and what comes out.
        admits: is asked before a batch normalisation runs.
    """
    replaced: list[nn.Module] = []
    inner: set[int] = set()  # of sequences, which take their place only where they do not run as one
    # Its replicas are given what stands in a module, and would run the module itself, on the wrong device.
    if not any(isinstance(module, nn.DataParallel) for _, module in modules):
        for _, module in modules:
            if id(module) in inner or "forward" in vars(module):
                continue
            inside = [module] if _is_leaf(module) else [] if tracer.selects else _only_leaves_in(module)
            if inside:
                vars(module)["forward"] = _AsOne(module, inside, tracer, admits, replaced)
                replaced.append(module)
                inner.update(map(id, inside))
    try:
        yield
    finally:
        for module in replaced:
            vars(module).pop("forward", None)


def _is_leaf(module: nn.Module) -> bool:
    simple = _is_simple(type(module))  # type: ignore[arg-type] # mypy does not see that a class has a hash
    return simple and not module._modules  # noqa: SLF001 - children() is slow


@lru_cache(maxsize=256)
def _is_simple(kind: Any) -> bool:
    """Whether this is one of torch's modules that compute something themselves."""
    return kind.__module__.startswith("torch.nn.modules.") and not issubclass(kind, _COMPUTE_NOTHING)


def _only_leaves_in(module: nn.Module) -> list[nn.Module]:
    """Return what a sequence consists of, if that is nothing but simple modules."""
    if type(module) is not nn.Sequential:
        return []
    inside = list(module)
    plain = all(_is_leaf(one) and "forward" not in vars(one) for one in inside)
    return inside if plain else []


def _hooks_of(modules: list[nn.Module]) -> list[Mapping[int, Any]]:
    """Return where hooks on `modules`, and those on all modules, are kept; some may yet come."""
    kept = [hooks for one in modules for hooks in (one._forward_hooks, one._forward_pre_hooks)]  # noqa: SLF001 - no public name
    return [everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks, *kept]  # noqa: SLF001 - likewise


class _AsOne:
    """Stands in place of one module's `forward`.

    Args:
        module: a simple one, or a sequence of such.
        inside: the simple ones.
        tracer: as for `leaves_as_one`.
        admits: as for `leaves_as_one`.
        replaced: is told of other modules whose `forward` it takes the place of.
    """

    __slots__ = (
        "_admits",
        "_forward",
        "_hooks",
        "_inside",
        "_module",
        "_norms",
        "_replaced",
        "_tracer",
        "_weights",
    )

    def __init__(
        self,
        module: nn.Module,
        inside: list[nn.Module],
        tracer: UnitTracer,
        admits: Admits,
        replaced: list[nn.Module],
    ) -> None:
        self._module: Any = module
        self._forward = module.forward
        self._inside = inside if inside[0] is not module else []
        self._hooks = _hooks_of(self._inside)
        self._replaced = replaced
        self._tracer = tracer
        self._admits = admits
        self._norms = [one for one in inside if isinstance(one, _BatchNorm)]
        parameters = [
            one
            for part in inside
            for one in part._parameters.values()  # noqa: SLF001 - parameters() is slow
            if one is not None
        ]
        self._weights = [one for one in parameters if one.ndim > 1 and one.requires_grad]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tracer = self._tracer
        # In another thread, or beneath a mode of somebody else's, it is not ours to be left.
        alone = len(args) == 1 and not kwargs and _get_current_function_mode() is tracer  # type: ignore[no-untyped-call]
        if not alone:
            return self._forward(*args, **kwargs)
        apart = self._inside and (tracer.follows or any(self._hooks))
        if apart or not all(map(self._admits, self._norms)):
            self._take_apart()
            return self._forward(*args)
        value = args[0]
        tracer.__exit__(None, None, None)  # type: ignore[no-untyped-call] # it sees attributes read, too
        try:
            made_by = value.grad_fn if isinstance(value, Tensor) else None
            version = value._version if made_by is not None else 0  # noqa: SLF001 - documented
            result = self._forward(value)
            if made_by is not None and value is not result and value._version != version:  # noqa: SLF001 - as above
                made_by = value.grad_fn  # it was changed in place first, and the changed one was used then
            tracer.saw_module(value, made_by, self._weights, result)
        finally:
            tracer.__enter__()  # type: ignore[no-untyped-call] # torch does not annotate it
        return result

    def _take_apart(self) -> None:
        """Have the modules of a sequence run as one each, where they do not all together."""
        for module in self._inside:
            if "forward" not in vars(module):
                vars(module)["forward"] = _AsOne(module, [module], self._tracer, self._admits, self._replaced)
                self._replaced.append(module)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Be the copy's own `forward` in a copy that the network makes of one of its modules."""
        copy = memo.get(id(self._module), self._module)
        return MethodType(type(copy).forward, copy)
