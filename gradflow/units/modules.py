"""Which module is running, and blocks that a user names outright.

Hooks on the modules say in whose forward an addition stands. A module that the user names
(`units=`) and in whose forward no residual addition stands is measured as a unit without
shortcut: x_l is its input and y_l = F(x_l) its output. This is how plain networks are
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from gradflow.units.graph import Port, between
from gradflow.units.hidden import noticing_hidden_code
from gradflow.units.naming import ParameterNames
from gradflow.units.submodules import Modules, submodules
from gradflow.units.tracing import PassedOver, TracedUnit, UnitTracer


@contextmanager
def watching(
    model: nn.Module,
    tracer: UnitTracer,
    selected: Callable[[str], bool] | None,
    *,
    modules: Modules | None = None,
    begun: bool = False,
) -> Iterator[None]:
    """Tell `tracer` about the modules of `model` that run while the context is open.

    Args:
        model: the network, whose forward pass happens inside.
        tracer: is entered and left with the context; if it puts additions off, its `settle` is to be called
            after it.
        selected: names the blocks to measure; None names none.
        modules: the model's `submodules`, if somebody has asked for them.
        begun: whether the network's own forward has begun, so that hooks on it would come too late.
    """
    modules = submodules(model) if modules is None else modules
    with ExitStack() as stack:
        blocks = set(_named_blocks(modules, selected)) if selected else set()
        tracer.names = ParameterNames(model)
        if begun:
            tracer.running.append("")
        for name, module in modules:
            if begun and module is model:
                continue
            if name in blocks or _may_add(module):
                block = _Block(name, tracer) if name in blocks else None
                running = _Running(name, tracer, block)
                before = module.register_forward_pre_hook(running.enter, with_kwargs=block is not None)
                stack.callback(before.remove)
                after = module.register_forward_hook(running.leave, always_call=True)
                stack.callback(after.remove)
        stack.enter_context(noticing_hidden_code(tracer.note_scripted))
        stack.enter_context(tracer)
        yield


def _may_add(module: nn.Module) -> bool:
    """Whether an addition may stand in this module's own forward: not in torch's own simple modules."""
    only_calls, is_torchs = _kind(type(module))  # type: ignore[arg-type] # mypy does not see that a class has a hash
    return not only_calls and (not is_torchs or bool(module._modules))  # noqa: SLF001


@lru_cache(maxsize=256)
def _kind(kind: Any) -> tuple[bool, bool]:
    """Return whether modules of a class do nothing but call others, and whether the class is torch's."""
    only_calls = kind.forward is nn.Sequential.forward or kind in {nn.ModuleList, nn.ModuleDict}
    return only_calls, kind.__module__.startswith("torch.nn.")


def _named_blocks(modules: Modules, selected: Callable[[str], bool]) -> Iterator[str]:
    """Yield the outermost modules that are selected."""
    chosen: list[str] = []
    for name, _ in modules:
        if name and selected(name) and not any(name.startswith(f"{outer}.") for outer in chosen):
            chosen.append(name)
            yield name


class _Running:
    """The two hooks of one module."""

    def __init__(self, name: str, tracer: UnitTracer, block: _Block | None) -> None:
        self._name = name
        self._tracer = tracer
        self._block = block

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        self._tracer.running.append(self._name)
        if self._block is not None:
            self._block.starts([*args, *(kwargs or {}).values()])

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._tracer.running.pop()
        if self._block is not None:
            self._block.ends(module, output)


class _Block:
    """A module that the user named as a unit."""

    def __init__(self, name: str, tracer: UnitTracer) -> None:
        self._name = name
        self._tracer = tracer
        self._fork: Port | None = None
        self._units_before = 0

    def starts(self, values: list[Any]) -> None:
        value = first_tensor(values)
        self._fork = Port.of(value) if value is not None else None
        self._units_before = len(self._tracer.units)
        if value is not None and self._fork is not None:
            self._tracer.observer.fork_value(self._fork, value)

    def ends(self, module: nn.Module, output: Any) -> None:
        fork, self._fork = self._fork, None
        if len(self._tracer.units) > self._units_before:
            return  # a residual addition stands inside: that is the unit
        value = first_tensor([output])
        total = Port.of(value) if value is not None else None
        if value is None or fork is None or total is None:
            reason = "it was named, but its first input or output is no tensor that needs a gradient"
            self._tracer.passed_over.append(PassedOver(self._name, reason))
            return
        nodes, edges = between(fork, total)
        if not edges:
            reason = "it was named, but its output does not depend on its input"
            self._tracer.passed_over.append(PassedOver(self._name, reason))
            return
        seen = self._tracer.observer.operands(None, value)
        self._tracer.observer.total(total, value, seen)
        unit = TracedUnit(
            index=len(self._tracer.units),
            name=self._name,
            fork=fork,
            total=total,
            shortcut="none",
            shape=value.shape,
            split=None,
            branch_edges=tuple(edges),
            interior=frozenset(nodes) - {total.node},
            branch_parameters=tuple(module.parameters()),
            shortcut_parameters=(),
        )
        self._tracer.found(unit, seen)


def first_tensor(values: list[Any]) -> Tensor | None:
    """Return the first floating-point tensor of a call's values; tuples and lists are walked."""
    for value in values:
        if isinstance(value, (tuple, list)):
            inner = first_tensor(list(value))
            if inner is not None:
                return inner
        elif isinstance(value, Tensor) and value.is_floating_point():
            return value
    return None
