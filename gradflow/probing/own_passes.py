"""Measuring the passes that somebody's own training loop makes, instead of making passes for it.

`probe` runs a network; here its user does. From `install` on, hooks on the network trace its forward
passes, and a function mode waits for `backward`. The first backward pass that goes through one of
them is the user's own, with the probe's hooks in it: values, gradients and random numbers are those
that the loop would have had. After that nothing is attached any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradflow.errors import ProbeError
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.probing.forward import ForwardMeasures
from gradflow.probing.measuring import make_record, without_collection
from gradflow.probing.own_backward import BackwardMode, leave
from gradflow.probing.own_forward import is_plain, loss_of, reached, refuse_functional, with_history
from gradflow.probing.own_gradients import GradientReader, sharded_parameters
from gradflow.probing.parts import UnaddableError
from gradflow.probing.passes import measured, subject
from gradflow.probing.reductions import Reducer
from gradflow.probing.sharding import WholeParameters
from gradflow.probing.traced import TracedForward
from gradflow.probing.uncompiled import uncompiled
from gradflow.probing.uncopied import UncopiedHook
from gradflow.probing.unused_memory import give_back_beside
from gradflow.probing.whole_job import Job
from gradflow.record import Record
from gradflow.units import UnitSelection
from gradflow.units.finding import require_units, selector
from gradflow.units.leaves import leaves_as_one
from gradflow.units.modules import watching
from gradflow.units.submodules import submodules
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
        job: the processes of a job that measure this pass together; None if this one is alone.
        doing: what they do then, in words.

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
        job: Job | None = None,
        doing: str = "measure",
    ) -> None:
        self.record: Record | None = None
        self.scale = 1.0
        self._current_scale = scale
        self._model = model
        self._units = units
        self._meta = meta
        self._job = job
        self._doing = doing
        self._whole: WholeParameters | None = None
        self._forwards: list[_Forward] = []
        self._open: _Forward | None = None
        self._depth = 0
        self._hooks = ExitStack()
        self._uncompiled = ExitStack()
        self._mode: BackwardMode | None = None

    @property
    def missing(self) -> str:
        """What has not happened yet that a measurement takes, in words."""
        name = type(self._model).__name__
        if not self._forwards:
            return f"{name} did not run with gradients on"
        return f"{name} ran, but no backward() of a loss that depends on it was seen"

    def install(self) -> None:
        """Begin to wait for the two passes.

        What `torch.compile` made of the network, or of parts of it, runs uncompiled in the meantime: it
        would take no notice of hooks.
        """
        self._uncompiled.enter_context(uncompiled())
        self._whole = sharded_parameters(self._model, self._job)
        if self._whole is not None:
            self._hooks.enter_context(self._whole.hooked())
        before = self._model.register_forward_pre_hook(self._begins, with_kwargs=True)
        self._hooks.callback(UncopiedHook(self._model, before).remove)
        after = self._model.register_forward_hook(self._ends, always_call=True)
        self._hooks.callback(UncopiedHook(self._model, after).remove)
        self._mode = BackwardMode(self._backward)
        self._mode.__enter__()  # type: ignore[no-untyped-call] # torch does not annotate it

    def remove(self) -> None:
        """Take everything away that was installed, and let go of what was traced."""
        self._let_go()
        self._uncompiled.close()
        if self._mode is not None:
            leave(self._mode)
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
        """Trace the forward pass that begins; its floating-point inputs are given a history for it.

        Raises:
            ProbeError: if it runs inside a transform of torch.func, or on other parameters than its own.
        """
        self._depth += 1
        if self._depth > 1 or not torch.is_grad_enabled():
            return None
        modules = submodules(module)
        batch, named = subject(module, (args, kwargs), modules)
        refuse_functional(module, named)
        observer, handling = ForwardMeasures(Reducer(batch)), BatchNormHandling("batch")
        selected = selector(self._units)
        tracer = UnitTracer(observer, selected, handling.overrides)
        stack = ExitStack()
        stack.enter_context(without_collection())
        stack.enter_context(leaves_as_one(modules, tracer, handling.admits))
        stack.enter_context(watching(module, tracer, selected, modules=modules, begun=True))
        self._open = _Forward(tracer, observer, handling, named, batch, module.training, stack)
        leaves = tracer.inputs
        return (
            tuple(with_history(value, leaves) for value in args),
            {name: with_history(value, leaves) for name, value in kwargs.items()},
        )

    def _ends(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Keep the forward pass that ends for its backward pass."""
        self._depth = max(self._depth - 1, 0)  # another's hook may have raised before ours could count
        if self._depth or self._open is None:
            return
        forward, self._open = self._open, None
        forward.stack.close()
        if output is None:
            return  # it raised: that is what its caller must hear of
        forward.tracer.settle()
        require_units(module, forward.tracer, self._units)
        if self._whole is not None:
            forward = replace(forward, named=self._whole.named())
            for unit in forward.tracer.units:  # a named block has its parameters from the module
                unit.branch_parameters = self._whole.wholes_of(unit.branch_parameters)
        self._forwards.append(forward)

    def _backward(self, run: Callable[..., Any], roots: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run a backward pass, and measure it if one of the forward passes is in it.

        Raises:
            ProbeError: if no gradient flows from the loss of a network that ran, or it is no number.
        """
        if self._depth or not self._forwards:
            return run(**kwargs)
        name = type(self._model).__name__
        loss = loss_of(roots, kwargs)
        if loss is None:
            return run(**kwargs)
        if loss.grad_fn is None:
            raise ProbeError(
                f"no gradient flows from the loss of {name}: it does not depend on a parameter that needs one"
            )
        within = reached(loss.grad_fn, [one.tracer for one in self._forwards])
        forwards = [one for one in self._forwards if one.tracer in within]
        if not forwards:
            return run(**kwargs)
        for root in roots:
            if root.numel() != 1:
                raise ProbeError(
                    f"the loss of {name} must be one number, not {tuple(root.shape)}; reduce it with .mean() "
                    "or .sum() before backward()"
                )
        self._let_go()
        if self._current_scale is not None:
            self.scale = self._current_scale()
        with without_collection():
            if loss.is_cpu:
                give_back_beside(unit.shape for unit in forwards[0].tracer.units)
            plain = is_plain(run, kwargs, loss.grad_fn)
            try:
                self.record = self._measure(forwards[0], loss, partial(run, **kwargs), plain=plain)
            except UnaddableError as error:
                raise ProbeError(
                    f"a gradient in {name} ends inside a function of torch's own, or is of another shape or "
                    "type than its value, which no such function is known to do; backward(create_graph=True) "
                    "is measured in a way that does not mind"
                ) from error
        if len(forwards) > 1:
            self.record.meta["notes"].append(
                f"{len(forwards)} forward passes of {name} are in one backward pass; the first is measured: "
                "values and gradients of activations are that one's, the loss and gradients of parameters "
                "those of all"
            )
        return None

    def _measure(self, forward: _Forward, loss: Tensor, run: Callable[..., Any], *, plain: bool) -> Record:
        """Return the record of a forward pass and of the backward pass that `run` makes of it.

        Args:
            forward: the forward pass.
            loss: what is differentiated.
            run: the backward pass.
            plain: as `is_plain` says.
        """
        reader = GradientReader(self._job, self._doing, self._whole)
        passes = measured(
            TracedForward(forward.tracer, loss, [], forward.handling),
            forward.observer,
            forward.named,
            forward.batch,
            in_place_of_engine=plain,
            differentiate=partial(reader.differentiate, run),
        )
        bn: BatchNormMode = "batch" if forward.training else "running"
        passes = reader.complete(passes)
        record = make_record(self._model, passes, LOSS, bn, self._meta, reader.columns)
        reader.explain(record)
        return record
