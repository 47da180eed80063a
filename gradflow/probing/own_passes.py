"""Measuring the passes that somebody's own training loop makes, instead of making passes for it.

`probe` runs a network; here its user does. From `install` on, hooks on the network trace its forward
passes, and a function mode waits for `backward`. The first backward pass that goes through one of
them is the user's own, with the probe's hooks in it: values, gradients and random numbers are those
that the loop would have had. After that nothing is attached any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from gradflow.errors import ProbeError
from gradflow.probing.batch_norm import BatchNormHandling
from gradflow.probing.forward import ForwardMeasures
from gradflow.probing.measuring import make_record, without_collection
from gradflow.probing.passes import measured, subject
from gradflow.probing.reductions import Reducer
from gradflow.probing.traced import TracedForward
from gradflow.record import Record
from gradflow.units import UnitSelection
from gradflow.units.calling import traceable
from gradflow.units.finding import require_units, selector
from gradflow.units.modules import watching
from gradflow.units.tracing import UnitTracer

LOSS = "the training loop's"
"""What a record calls a loss that was computed elsewhere."""


@dataclass(eq=False)
class _Forward:
    """One forward pass of the network, and what holds on to it while it runs."""

    tracer: UnitTracer
    observer: ForwardMeasures
    handling: BatchNormHandling
    named: dict[str, Tensor]
    batch: int
    training: bool
    stack: ExitStack


class OwnPasses:
    """Measures one forward and one backward pass of `model` that its user makes.

    Args:
        model: the network, uncompiled.
        units: as for `probe`.
        meta: as for `probe`.
        scale: tells what a mixed-precision scaler multiplies the loss by, at the time of the pass.

    Attributes:
        record: what was measured, of the loss that was differentiated; None as long as there was none.
        scale: what that loss was multiplied by.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        units: UnitSelection | None = None,
        meta: Mapping[str, Any] | None = None,
        scale: Callable[[], float] | None = None,
    ) -> None:
        self.record: Record | None = None
        self.scale = 1.0
        self._current_scale = scale
        self._model = model
        self._units = units
        self._meta = meta
        self._forwards: list[_Forward] = []
        self._open: _Forward | None = None
        self._depth = 0
        self._hooks = ExitStack()
        self._mode: _BackwardMode | None = None

    @property
    def ran(self) -> bool:
        """Whether the network ran with gradients on and found no backward pass yet."""
        return bool(self._forwards)

    def install(self) -> None:
        """Begin to wait for the two passes."""
        before = self._model.register_forward_pre_hook(self._begins, with_kwargs=True)
        self._hooks.callback(before.remove)
        after = self._model.register_forward_hook(self._ends, always_call=True)
        self._hooks.callback(after.remove)
        self._mode = _BackwardMode(self._backward)
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Take everything away that was installed, and let go of what was traced."""
        self._let_go()
        if self._mode is not None:
            _leave(self._mode)
            self._mode = None

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.stack.close()
            self._open = None
        self._forwards.clear()
        self._hooks.close()

    def _begins(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Trace the forward pass that begins; its floating-point inputs are given a history for it."""
        self._depth += 1
        if self._depth > 1 or not torch.is_grad_enabled():
            return None
        batch, named = subject(module, (args, kwargs))
        observer, handling = ForwardMeasures(Reducer(batch)), BatchNormHandling("batch")
        selected = selector(self._units)
        tracer = UnitTracer(observer, selected, handling.overrides)
        stack = ExitStack()
        stack.enter_context(without_collection())
        stack.enter_context(watching(module, tracer, selected, begun=True))
        self._open = _Forward(tracer, observer, handling, named, batch, module.training, stack)
        return tuple(map(_with_history, args)), {name: _with_history(value) for name, value in kwargs.items()}

    def _ends(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Keep the forward pass that ends for its backward pass."""
        self._depth = max(self._depth - 1, 0)  # another's hook may have raised before ours could count
        if self._depth or self._open is None:
            return
        forward, self._open = self._open, None
        forward.stack.close()
        if output is None:
            return  # it raised: that is what its caller must hear of
        require_units(module, forward.tracer, self._units)
        self._forwards.append(forward)

    def _backward(self, run: Callable[..., Any], loss: Any, kwargs: dict[str, Any]) -> Any:
        """Run a backward pass, and measure it if one of the forward passes is in it.

        Raises:
            ProbeError: if no gradient flows from the loss of a network that ran, or it is no number.
        """
        if self._depth or not self._forwards or not isinstance(loss, Tensor):
            return run(**kwargs)
        name = type(self._model).__name__
        if loss.grad_fn is None:
            raise ProbeError(
                f"no gradient flows from the loss of {name}: it does not depend on a parameter that needs one"
            )
        forward = next((one for one in self._forwards if _reaches(loss.grad_fn, one.tracer)), None)
        if forward is None:
            return run(**kwargs)
        if loss.numel() != 1:
            raise ProbeError(
                f"the loss of {name} must be one number, not {tuple(loss.shape)}; reduce it with .mean() or "
                ".sum() before backward()"
            )
        self._let_go()
        if self._current_scale is not None:
            self.scale = self._current_scale()
        with without_collection():
            passes = measured(
                TracedForward(forward.tracer, loss, [], forward.handling),
                forward.observer,
                forward.named,
                forward.batch,
                in_place_of_engine=False,  # a pass of somebody else's cannot be run a second time
                differentiate=partial(_differentiate, run, kwargs),
            )
            bn = forward.training
            self.record = make_record(self._model, passes, LOSS, "batch" if bn else "running", self._meta)
        return None


class _BackwardMode(TorchFunctionMode):
    """Shows every call of `backward` to `seen`, which runs it."""

    def __init__(self, seen: Callable[[Callable[..., Any], Any, dict[str, Any]], Any]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`."""
        kwargs = kwargs or {}
        if func is Tensor.backward or func is torch.autograd.backward:
            what = args[0]
            loss = what[0] if isinstance(what, (tuple, list)) and len(what) == 1 else what
            return self._seen(partial(func, *args), loss, kwargs)
        return func(*args, **kwargs)


def _leave(mode: TorchFunctionMode) -> None:
    """Take `mode` off the stack of function modes, wherever in it it is: others may have come after it."""
    above: list[Any] = []
    current = torch.overrides._get_current_function_mode  # noqa: SLF001 - no public name
    while (top := current()) is not None:  # type: ignore[no-untyped-call]
        torch.overrides._pop_mode()  # type: ignore[no-untyped-call] # noqa: SLF001 - as above
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        torch.overrides._push_mode(other)  # type: ignore[no-untyped-call] # noqa: SLF001 - as above


def _with_history(value: Any) -> Any:
    """Give an argument that is a tensor without history one, so that a unit may fork at it."""
    if not isinstance(value, Tensor) or value.requires_grad:
        return value
    return traceable(value)[0]


def _differentiate(
    run: Callable[..., Any], kwargs: dict[str, Any], parameters: list[Tensor], again: bool
) -> Sequence[Tensor | None]:
    """Run a user's backward pass and return what each parameter got in it.

    Args:
        run: the pass.
        kwargs: it is run with.
        parameters: whose gradients are wanted.
        again: whether the graph is to be kept.
    """
    arrived: dict[int, Tensor] = {}

    def keep(index: int, gradient: Tensor) -> None:
        arrived[index] = gradient

    fresh = {index for index, parameter in enumerate(parameters) if _gets_its_own(parameter)}
    with ExitStack() as stack:
        for index, parameter in enumerate(parameters):
            if index not in fresh:
                hook = parameter.register_hook(partial(keep, index))  # type: ignore[no-untyped-call]
                stack.callback(hook.remove)
        run(**kwargs | ({"retain_graph": True} if again else {}))
    return [
        parameter.grad if index in fresh else arrived.get(index) for index, parameter in enumerate(parameters)
    ]


def _gets_its_own(parameter: Tensor) -> bool:
    """Whether `.grad` will be this pass's gradient alone, and still be there after it.

    It is added to what is there from an earlier pass, and an optimiser that runs in the backward
    pass may take it away.
    """
    return parameter.grad is None and not getattr(parameter, "_post_accumulate_grad_hooks", None)


def _reaches(root: Node, tracer: UnitTracer) -> bool:
    """Whether a backward pass from `root` goes through one of the units."""
    wanted = {unit.total.node for unit in tracer.units}
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        if node in wanted:
            return True
        for origin, _ in node.next_functions:
            if origin is not None and origin not in seen:
                seen.add(origin)
                stack.append(origin)
    return False
