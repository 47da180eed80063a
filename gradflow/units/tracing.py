"""Watching a forward pass: every residual addition is seen as it happens.

A `TorchFunctionMode` around the forward pass sees each operation on tensors, in any
`nn.Module`, in-place additions and in-place activations included. At each addition of
two tensors of one shape that both have a history, the autograd graph tells whether it
is a residual unit's (`classification`). What is to be done with the values is an
observer's business: finding units needs none of them, probing measures them on the spot,
before an in-place operation can overwrite them.

Python in the middle of a pass is several times slower than in a loop of its own, since the tensors of
the pass have driven all else out of the processor's caches. So an addition to the sum of the one before,
which is hardly ever anything but the next unit's, is shown to the observer at once and told apart later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MethodWrapperType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode

from gradflow.units.classification import NO_PARAMETERS, Split, function_name, split_addition
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
from gradflow.units.fork import Walk, find_fork
from gradflow.units.graph import Port, between
from gradflow.units.hidden import REENTRANT, refuse_reentrant
from gradflow.units.naming import ParameterNames
from gradflow.units.operations import projections
from gradflow.units.traced_unit import Bystander, Observer, PassedOver, TracedUnit
from gradflow.units.weights import WeightUses

__all__ = ["Bystander", "Observer", "PassedOver", "TracedUnit", "UnitTracer"]

_OTHER_DIFFERENCE = "it subtracts: of differences only x_l − F(x_l) is measured"

_LONGEST = 500
"""Operations between x_l and where it is combined with F(x_l), where that is only said and not measured.

Such functions occur all over a network, and a walk to its beginning at each of them would be slow.
"""

_MACHINERY = ("gradflow.units.", "torch._", "torch.overrides", "torch.utils._")
"""Python modules that stand between an addition and the line on which it is written."""

_SET_REQUIRES_GRAD = Tensor.requires_grad.__set__  # type: ignore[attr-defined] # a getset descriptor


@dataclass(eq=False, slots=True)
class _Addition:
    """An addition that has been made and shown to the observer, and what has to be known of it."""

    name: str
    where: str
    ports: tuple[Port, Port]
    total: Port
    shape: torch.Size
    seen: Any
    packed: bool = False


class UnitTracer(TorchFunctionMode):
    """Finds the residual units of one forward pass.

    Args:
        observer: what is shown the values on the way.
        selected: whether additions in the module of this name are wanted; None takes all.
        overrides: functions to run in place of others (`F.batch_norm` with frozen statistics).

    Attributes:
        units: the units so far, in order of execution.
        passed_over: the other additions so far.
        running: qualified names of the modules whose forward is running, the innermost last.
        inputs: the leaves that stand for the network's inputs, which are no parameters.
        names: of the network's parameters.
        unchanged: nodes of additions of the number 0, such as `sum` begins with.
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
        self.units: list[TracedUnit] = []
        self.passed_over: list[PassedOver] = []
        self.running: list[str] = []
        self.inputs: list[Tensor] = []
        self.names = ParameterNames()
        self.unchanged: set[Node] = set()
        self.observer = observer
        self._selected = selected
        self._overrides = dict(overrides or {})
        self._special = COMBINATIONS.keys() | set(self._overrides)
        self._totals: set[Node] = set()
        self._uses: dict[Port, int] = {}
        self._weights = WeightUses()
        self._activation: list[str] = []
        self._followed: list[Node] | None = None
        self._put_off: list[_Addition] = []
        self._end: Port | None = None  # of the last unit, or of what may be one

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

    @property
    def follows(self) -> bool:
        """Whether the next operations may be what the unit before did after its addition."""
        return self._followed is not None

    def saw(self, used: list[tuple[Tensor, Node | None]], result: Any) -> None:
        """Take notice of an operation that is no addition.

        Args:
            used: the tensors that went into it, and where each came from before it ran.
            result: what came out.
        """
        if _has_history(result):
            self._count_uses(used, result)
            followed = self._followed
            if followed and isinstance(result, Tensor) and self._follow_activation(followed, _port(result)):
                self.observer.out_value(self.units[-1].out, result)

    def saw_module(self, value: Any, made_by: Node | None, weights: Sequence[Tensor], result: Any) -> None:
        """Take notice of one of torch's own simple modules, or of a sequence, that has run as one operation.

        Args:
            value: what went into it.
            made_by: where that came from when it was used; None if it has no history.
            weights: those of the module.
            result: what came out.
        """
        if type(result) is not Tensor or self._followed:
            used = [(value, made_by)] if isinstance(value, Tensor) else []
            self.saw(used + [(weight, None) for weight in weights], result)
        elif (node := result.grad_fn) is not None:
            if made_by is not None and value is not result:
                self._count_use(value, made_by)
            if weights:
                self._weights.note(weights, node)

    def settle(self) -> None:
        """Find the units among the additions that have been put off; to be called at the forward pass's end."""
        waiting, self._put_off = self._put_off, []
        for addition in waiting:
            split = self._split(find_fork(*addition.ports))
            if isinstance(split, Split):
                self.found(_unit(len(self.units), addition, split), addition.seen)
                continue
            self.passed_over.append(PassedOver(addition.name, split, addition.where, tuple(addition.shape)))
            for port in addition.ports:
                self._uses[port] = self._uses.get(port, 0) + 1
            self.observer.no_unit(addition.ports, addition.seen)
            if self._followed:
                self._follow_activation(self._followed, addition.total)

    def found(self, unit: TracedUnit, seen: Any) -> None:
        """Keep a unit, and learn from its fork what the unit before it does after its addition.

        Args:
            unit: the next one.
            seen: what the observer said of its operands.
        """
        if self.units:
            previous = self.units[-1]
            nodes, edges = between(previous.total, unit.fork)
            follows = bool(edges) or previous.total == unit.fork
            previous.out = unit.fork if follows else previous.total
            previous.post_activation = function_name(nodes) if follows else "other"
            self._activation = [node.name() for node in nodes] if follows else []
        self.units.append(unit)
        self._totals.add(unit.total.node)
        self._followed = [unit.total.node] if self._activation else None
        self._end = unit.total
        self.observer.unit(unit, seen)

    def forget_graph(self) -> None:
        """Drop what refers to the autograd graph beyond the units themselves."""
        self._totals.clear()
        self._uses.clear()
        self.unchanged.clear()
        self._weights.clear()
        self._followed = self._end = None

    def _count_uses(self, used: list[tuple[Tensor, Node | None]], result: Any) -> None:
        """Count the uses of what went into an operation, and note those of weights."""
        for value, node in used:
            if node is None:
                if value.requires_grad and value.ndim > 1 and isinstance(result, Tensor):
                    assert result.grad_fn is not None, "it has a history"
                    self._weights.note([value], result.grad_fn)
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

    def _follow_activation(self, followed: list[Node], made: Port) -> bool:
        """Take notice of an operation that may belong to f, if f is what it was in the unit before.

        A network's last unit has no next unit at whose fork its x_{l+1} could be read.

        Args:
            followed: y_l's node and those of f so far.
            made: what the operation made.

        Returns:
            whether that is f(y_l).
        """
        node = made.node
        if all(origin is not followed[-1] for origin, _ in node.next_functions):
            return False
        if node.name() != self._activation[len(followed) - 1]:
            self._followed = None
            return False
        followed.append(node)
        if len(followed) <= len(self._activation):
            return False
        self._followed = None
        self.units[-1].out = made
        self.units[-1].post_activation = function_name(followed[1:])
        return True

    def _add(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        operands: tuple[Tensor, Tensor],
        ports: tuple[Port, Port],
    ) -> Any:
        first, second = operands
        hides_operands = func in IN_PLACE and is_view(first)
        packed = torch._C._autograd._top_saved_tensors_default_hooks(False) is not None  # noqa: SLF001 - no public name
        goes_on = self._end in ports and func in ADDITIONS and not kwargs and not hides_operands
        if goes_on and self.puts_off and not self.selects and not packed:
            addition, result = self._make(func, args, kwargs, operands, ports)
            self._put_off.append(addition)
            self._end, self._activation, self._followed = addition.total, [], None
            return result
        self.settle()
        name = self.running[-1] if self.running else ""
        negative = func in SUBTRACTIONS
        if self._selected is not None and not self._selected(name):
            split: Split | str = "it is not among the units that were asked for"
        elif hides_operands:
            split = "it adds in place into a view of another tensor, which hides its operands"
        else:
            walk = find_fork(*ports)
            split = self._split(walk)
            if negative and isinstance(split, Split):
                split = _difference(split, walk)
        if isinstance(split, str):
            if not negative or split == _OTHER_DIFFERENCE:  # other differences nobody takes for a unit's
                self.passed_over.append(PassedOver(name, split, _line(), tuple(first.shape)))
            used: list[tuple[Tensor, Node | None]] = [(first, first.grad_fn), (second, second.grad_fn)]
            result = func(*args, **kwargs)
            self._count_uses(used, result)
            return result
        alpha = -kwargs.get("alpha", 1) if negative else kwargs.get("alpha", 1)
        if alpha != 1 and split.shortcut_operand == 1 and split.shortcut == "identity":
            split = replace(split, shortcut="scaled")  # y = F + α x
            if ports[1] == split.fork:
                self.observer.fork_value(split.fork, second)
        values = first, second if alpha == 1 else second.detach() * alpha
        addition, result = self._make(func, args, kwargs, values, ports)
        addition.packed = packed
        self.found(_unit(len(self.units), addition, split), addition.seen)
        return result

    def _make(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        values: tuple[Tensor, Tensor],
        ports: tuple[Port, Port],
    ) -> tuple[_Addition, Any]:
        """Run an addition, and show it to the observer.

        Args:
            func: what adds; this and the next two as for `__torch_function__`.
            args: its arguments.
            kwargs: likewise.
            values: what is added up.
            ports: where that comes from.

        Returns:
            what has to be known of it, and the sum.
        """
        name, where = self.running[-1] if self.running else "", _line()
        seen = self.observer.operands(*values)
        result = func(*args, **kwargs)
        total = _port(result)
        self.observer.total(total, result, seen)
        return _Addition(name, where, ports, total, result.shape, seen), result

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
        name = self.running[-1] if self.running else ""
        if self._selected is not None and not self._selected(name):
            return
        for pair in combination.pairs(args, kwargs):
            self.settle()
            split = self._split(find_fork(*pair, visits=_LONGEST))
            if isinstance(split, Split) or (combination.weighs and split == NO_PARAMETERS):
                reason = (
                    f"{combination.form} combines x_l and F(x_l), which is measured where it is x_l + F(x_l)"
                )
                self.passed_over.append(PassedOver(name, reason, _line(), tuple(pair[0].shape)))
                return

    def note_scripted(self, function: str, result: Tensor) -> None:
        """Say of a TorchScript function that adds that nothing can be measured in it."""
        name = self.running[-1] if self.running else ""
        if self._selected is None or self._selected(name):
            reason = f"the TorchScript function {function} adds tensors, where no function mode sees it"
            self.passed_over.append(PassedOver(name, reason, _line(), tuple(result.shape)))

    def _split(self, walk: Walk) -> Split | str:
        """Return how an addition comes apart, in the light of what ran before it, or why it does not."""
        walk.unchanged = self.unchanged
        for leaf in self.inputs:
            walk.parameters.pop(id(leaf), None)
        split = split_addition(walk, self.names)
        if isinstance(split, str):
            for unit in self.units[-1:]:
                starts_there = walk.fork is not None and walk.fork.node in {unit.fork.node, *unit.interior}
                if starts_there and unit.total in walk.operands:
                    return (
                        "it adds a third operand to the unit before, which starts from the same tensor: of "
                        "x + F + G only x + F is measured; written x + (F + G) it is one unit"
                    )
            return split
        if split.side_inputs and self._weights.recur_in(split):
            return "a recurrence: the same weights made x_l, and the branch reads another input at each step"
        return self._without_other_streams(split, walk)

    def _without_other_streams(self, split: Split, walk: Walk) -> Split:
        """Leave out the parameters of units of another stream, whose result the branch only reads.

        Streams take turns (language and vision, say), so another's layers may have run after x_l
        was made, and be above the fork in the graph, though x_l does not go into them.
        """
        if walk.is_all_from_fork:
            return split
        elsewhere = (walk.reached.keys() & self._totals) - split.interior
        if not elsewhere:
            return split
        own = walk.parameters_short_of(elsewhere)
        return replace(split, branch_parameters=tuple(p for p in split.branch_parameters if p in own))

    def _note_hidden(self, first: Tensor, second: Tensor) -> None:
        """Say of an addition with an operand without history why nothing can be measured there."""
        if first.ndim < 2 or not first.is_floating_point():
            return
        if not torch.is_grad_enabled():
            reason = "it runs without gradients: inside torch.no_grad, or an autograd Function of its own"
        elif not first.requires_grad or not second.requires_grad:
            reason = "an operand needs no gradient: a constant, or made of frozen parameters and integers"
        else:
            reason = "an operand is a parameter"
        name = self.running[-1] if self.running else ""
        self.passed_over.append(PassedOver(name, reason, _line(), tuple(first.shape)))


def _unit(index: int, addition: _Addition, split: Split) -> TracedUnit:
    """Return the unit of an addition that has been told apart."""
    return TracedUnit(
        index=index,
        name=addition.name,
        fork=split.fork,
        total=addition.total,
        shortcut=split.shortcut,
        shape=addition.shape,
        split=split,
        branch_edges=split.branch_edges,
        interior=split.interior,
        branch_parameters=split.branch_parameters,
        shortcut_parameters=split.shortcut_parameters,
        where=addition.where,
        packed=addition.packed,
    )


def _difference(split: Split, walk: Walk) -> Split | str:
    """Return how a difference comes apart, or why it is no unit's."""
    if not projections(split.interior, walk.values):
        return "it subtracts what multiplies by no weight"
    is_bare = split.shortcut == "identity" and split.shortcut_operand == 0
    return split if is_bare else _OTHER_DIFFERENCE


def _line() -> str:
    """Return Python module and line of the addition that is being made."""
    frame = sys._getframe(1)  # noqa: SLF001 - CPython's, like the whole of torch's tracing
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_MACHINERY):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__', '?')}:{frame.f_lineno}"


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
