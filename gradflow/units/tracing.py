"""Watching a forward pass: every residual addition is seen as it happens.

A `TorchFunctionMode` around the forward pass sees each operation on tensors, in any
`nn.Module`, in-place additions and in-place activations included. At each addition of
two tensors of one shape that both have a history, the autograd graph tells whether it
is a residual unit's (`classification`). What is to be done with the values is an
observer's business: finding units needs none of them, probing measures them on the spot,
before an in-place operation can overwrite them.

Python in the middle of a pass is several times slower than in a loop of its own, since the tensors of
the pass have driven all else out of the processor's caches. So where a weight's projection is added to the
last unit's sum, which is hardly ever anything but the next unit, the addition is shown to the observer at
once and told apart later: when the pass has ended, or before another addition is told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MethodWrapperType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from gradflow.units.classification import NO_PARAMETERS, OTHER_DIFFERENCE, Split, split_difference
from gradflow.units.combining import (
    ADDITIONS,
    COMBINATIONS,
    IN_PLACE,
    SUBTRACTIONS,
    SUMS,
    Combination,
    adds_number,
    summands,
)
from gradflow.units.fork import find_fork
from gradflow.units.graph import Port
from gradflow.units.hidden import REENTRANT, refuse_reentrant
from gradflow.units.operations import PROJECTION_BY_WEIGHT, operation
from gradflow.units.so_far import UnitsSoFar, line
from gradflow.units.traced_unit import Addition, Bystander, Observer, PassedOver, TracedUnit

__all__ = ["Bystander", "Observer", "PassedOver", "TracedUnit", "UnitTracer"]

_LONGEST = 500
"""Operations between x_l and where it is combined with F(x_l), where that is only said and not measured.

Such functions occur all over a network, and a walk to its beginning at each of them would be slow.
"""

_SET_REQUIRES_GRAD = Tensor.requires_grad.__set__  # type: ignore[attr-defined] # a getset descriptor


class UnitTracer(UnitsSoFar, TorchFunctionMode):
    """Finds the residual units of one forward pass.

    Args:
        observer: what is shown the values on the way.
        selected: whether additions in the module of this name are wanted; None takes all.
        overrides: functions to run in place of others (`F.batch_norm` with frozen statistics).

    Attributes:
        puts_off: whether units may be found some time after their additions.
    """

    puts_off = True

    def __init__(
        self,
        observer: Observer,
        selected: Callable[[str], bool] | None = None,
        overrides: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    ) -> None:
        super().__init__()
        self.observer = observer
        self._selected = selected
        self._overrides = dict(overrides or {})
        self._special = COMBINATIONS.keys() | set(self._overrides)
        self._uses: dict[Port, int] = {}
        self._put_off: list[Addition] = []
        self._end: Port | None = None  # of the last unit, or of what may be one; None if it ends in no weight

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, looking at additions before and after."""
        kwargs = kwargs or {}
        if type(func) is MethodWrapperType:
            if func == _SET_REQUIRES_GRAD and args[0].grad_fn is not None and args[1]:
                return None  # an input that we gave a history needs a gradient already
            return func(*args, **kwargs)
        if func in self._special:
            func = self._overrides.get(func, func)
            operands = summands(args, kwargs) if func in SUMS else None
            if operands is None:
                if adds_number(func, args):
                    if args[-1] == 0:
                        return self._add_nothing(func, args, kwargs)
                elif func in COMBINATIONS and torch.is_grad_enabled():
                    self._note_combination(COMBINATIONS[func], args, kwargs)
            elif torch.is_grad_enabled() and (ports := _ports(*operands)) is not None:
                return self._add(func, args, kwargs, operands, ports)
            elif func not in SUBTRACTIONS:
                self._note_hidden(*operands)
        used = [(value, value.grad_fn) for value in args if isinstance(value, Tensor)]
        result = func(*args, **kwargs)
        self.saw(used, result)
        return result

    @property
    def selects(self) -> bool:
        """Whether only some modules are wanted, which may be any."""
        return self._selected is not None

    def saw(self, used: list[tuple[Tensor, Node | None]], result: Any) -> None:
        """Take notice of an operation that is no addition.

        Args:
            used: the tensors that went into it, and where each came from before it ran.
            result: what came out.
        """
        if _has_history(result):
            self._count_uses(used, result)
            if self.follows and isinstance(result, Tensor) and self.follow(_port(result)):
                self.observer.out_value(self.units[-1].out, result)

    def saw_module(self, value: Any, made_by: Node | None, weights: Sequence[Tensor], result: Any) -> None:
        """Take notice of one of torch's own simple modules, or of a sequence, that has run as one operation.

        Args:
            value: what went into it.
            made_by: where that came from when it was used; None if it has no history.
            weights: those of the module.
            result: what came out.
        """
        if type(result) is not Tensor or self.follows:
            used = [(value, made_by)] if isinstance(value, Tensor) else []
            self.saw(used + [(weight, None) for weight in weights], result)
        elif (node := result.grad_fn) is not None:
            if made_by is not None and value is not result:
                self._count_use(value, made_by)
            if weights:
                self.weights.note(weights, node)

    def settle(self) -> None:
        """Find the units among the additions that have been put off.

        To be called when the forward pass has ended, and before anything else is told apart.
        """
        waiting, self._put_off = self._put_off, []
        for addition in waiting:
            split = self.split(find_fork(*addition.ports))
            if isinstance(split, Split):
                unit = addition.as_unit(len(self.units), split)
                # Another x_l than the last sum: masks behind other weights may have been written to since.
                unit.packed = unit.fork not in addition.ports
                self.found(unit, addition.seen)
                continue
            self.passed_over.append(PassedOver(addition.name, split, addition.where, tuple(addition.shape)))
            self.follow_sum(addition.total)

    def found(self, unit: TracedUnit, seen: Any) -> None:
        """Keep a unit.

        Args:
            unit: the next one.
            seen: what the observer said of its operands.
        """
        self.keep(unit)
        self._end = unit.total if _is_by_weight(unit.branch_output[0]) else None
        self.observer.unit(unit, seen)

    def forget_graph(self) -> None:
        """Drop what refers to the autograd graph beyond the units themselves."""
        super().forget_graph()
        self._uses.clear()
        self._end = None

    def _count_uses(self, used: list[tuple[Tensor, Node | None]], result: Any) -> None:
        """Count the uses of what went into an operation, and note those of weights."""
        for value, node in used:
            if node is None:
                if value.requires_grad and value.ndim > 1 and isinstance(result, Tensor):
                    assert result.grad_fn is not None, "it has a history"
                    self.weights.note([value], result.grad_fn)
                continue
            if value is not result:
                self._count_use(value, node)

    def _count_use(self, value: Tensor, node: Node) -> None:
        """Show a value to the observer when it is used a second time: it may be a fork.

        Raises:
            ProbeError: if a value comes out of reentrant checkpointing, which runs without a graph.
        """
        key = Port(node, value.output_nr)
        uses = self._uses[key] = self._uses.get(key, 0) + 1
        if uses == 1 and type(node).__name__ == REENTRANT:  # as its name(), which is made anew at each call
            refuse_reentrant()
        if uses == 2:
            self.observer.fork_value(key, value)

    def _add(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        operands: tuple[Tensor, Tensor],
        ports: tuple[Port, Port],
    ) -> Any:
        packed = torch._C._autograd._top_saved_tensors_default_hooks(False) is not None  # noqa: SLF001 - no public name
        plain = func in ADDITIONS and not kwargs and not packed
        if plain and self._end in ports and self._may_wait(ports[ports[0] == self._end]):
            addition, result = self._make(func, args, kwargs, operands, ports)
            self._put_off.append(addition)
            self._end = addition.total
            return result
        self.settle()
        first, second = operands
        negative = func in SUBTRACTIONS
        if not self._wants_running():
            split: Split | str = "it is not among the units that were asked for"
        elif func in IN_PLACE and is_view(first):
            split = "it adds in place into a view of another tensor, which hides its operands"
        else:
            walk = find_fork(*ports)
            split = self.split(walk)
            if negative and isinstance(split, Split):
                split = split_difference(split, walk)
        if isinstance(split, str):
            if not negative or split == OTHER_DIFFERENCE:  # other differences nobody takes for a unit's
                self.pass_over(split, first.shape)
            used: list[tuple[Tensor, Node | None]] = [(first, first.grad_fn), (second, second.grad_fn)]
            result = func(*args, **kwargs)
            self._count_uses(used, result)
            if self.units and self.follow_sum(_port(result)):
                self.observer.out_value(self.units[-1].out, result)
            return result
        alpha = -kwargs.get("alpha", 1) if negative else kwargs.get("alpha", 1)
        if alpha != 1 and split.shortcut_operand == 1 and split.shortcut == "identity":
            split = replace(split, shortcut="scaled")  # y = F + α x
            if ports[1] == split.fork:
                self.observer.fork_value(split.fork, second)
        values = first, second if alpha == 1 else second.detach() * alpha
        addition, result = self._make(func, args, kwargs, values, ports)
        addition.packed = packed
        self.found(addition.as_unit(len(self.units), split), addition.seen)
        return result

    def _may_wait(self, branch: Port) -> bool:
        """Whether an addition to the last sum may be told apart later.

        Not where f is being followed, or where only some modules' additions are wanted. And not where
        something stands behind a branch's last weight: a mask there may be written to before it is looked at.

        Args:
            branch: where the other operand comes from.
        """
        return self.puts_off and not self.selects and not self.follows and _is_by_weight(branch)

    def _make(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        values: tuple[Tensor, Tensor],
        ports: tuple[Port, Port],
    ) -> tuple[Addition, Any]:
        """Run an addition, and show it to the observer.

        Args:
            func: what adds; this and the next two as for `__torch_function__`.
            args: its arguments.
            kwargs: likewise.
            values: what is added up.
            ports: where the operands come from.

        Returns:
            what has to be known of it, and the sum.
        """
        name, where = self.running_name, line()
        seen = self.observer.operands(*values)
        result = func(*args, **kwargs)
        total = _port(result)
        self.observer.total(total, result, seen)
        return Addition(name, where, ports, total, result.shape, seen), result

    def _add_nothing(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Add the number 0, as `sum` begins, and remember that nothing has changed."""
        used = [(value, value.grad_fn) for value in args if isinstance(value, Tensor)]
        result = func(*args, **kwargs)
        if _has_history(result):
            self._count_uses(used, result)
            self.unchanged.add(result.grad_fn)
        return result

    def _note_combination(
        self, combination: Combination, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Say of a function that does what a residual addition does that it is not measured."""
        if not self._wants_running():
            return
        for pair in combination.pairs(args, kwargs):
            self.settle()
            split = self.split(find_fork(*pair, visits=_LONGEST))
            if isinstance(split, Split) or (combination.weighs and split == NO_PARAMETERS):
                reason = (
                    f"{combination.form} combines x_l and F(x_l), which is measured where it is x_l + F(x_l)"
                )
                self.pass_over(reason, pair[0].shape)
                return

    def note_scripted(self, function: str, result: Tensor) -> None:
        """Say of a TorchScript function that adds that nothing can be measured in it."""
        if self._wants_running():
            reason = f"the TorchScript function {function} adds tensors, where no function mode sees it"
            self.pass_over(reason, result.shape)

    def _note_hidden(self, first: Tensor, second: Tensor) -> None:
        """Say of an addition with an operand without history why nothing can be measured there."""
        if first.ndim < 2 or not first.is_floating_point():
            return
        self.settle()  # what is passed over is told in order
        if not torch.is_grad_enabled():
            reason = "it runs without gradients: inside torch.no_grad, or an autograd Function of its own"
        elif not first.requires_grad or not second.requires_grad:
            reason = "an operand needs no gradient: a constant, or made of frozen parameters and integers"
        else:
            reason = "an operand is a parameter"
        self.pass_over(reason, first.shape)

    def _wants_running(self) -> bool:
        """Whether additions in the module that is running are wanted."""
        return self._selected is None or self._selected(self.running_name)


def _is_by_weight(value: Port) -> bool:
    """Whether a value is a projection by a weight, with nothing behind it."""
    return operation(value.node) in PROJECTION_BY_WEIGHT


def is_view(value: Tensor) -> bool:
    """Whether `value` is a view of another tensor."""
    return value._base is not None  # noqa: SLF001 - torch documents it and has no public name for it


def _port(value: Tensor) -> Port:
    """Return where a value with a history comes from."""
    port = Port.of(value)
    assert port is not None
    return port


def _ports(first: Tensor, second: Tensor) -> tuple[Port, Port] | None:
    """Return where two values come from; None unless both have a history."""
    one, other = Port.of(first), Port.of(second)
    return None if one is None or other is None else (one, other)


def _has_history(result: Any) -> bool:
    if isinstance(result, Tensor):
        return result.grad_fn is not None
    return isinstance(result, (tuple, list)) and any(_has_history(item) for item in result)
