"""Reading the parts of a gradient before autograd adds them up.

Hooks on the nodes of the autograd graph that consume a fork see each part of ∂E/∂x_l on its
own, so the shortcut's and the branch's part are read, never had by subtraction. A part is
kept until the last one is there, and all are then handed to a listener.

The parts have to be added up to be compared with what arrives at the fork, and the engine
adds them, too. So that this is done once, a reader may add `in_place_of_engine`: it hands the
engine the sum as the last part and nothing as the others. The sum is made by the engine's own
operation in the engine's own order, so the bits are the same, and if it is this very tensor
that arrives at the fork then nothing else has come to it on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from gradflow.probing.ownership import is_nobody_elses
from gradflow.units.graph import Edge, Kind, Port, edges_into
from gradflow.units.tracing import TracedUnit

Role = Literal["shortcut", "branch", "other", "mixed"]


@dataclass(eq=False, slots=True)
class Parts:
    """The parts of one unit's ∂E/∂x_l.

    Attributes:
        shortcut: s = (∂h/∂x)ᵀ ∂E/∂y_l; None for a named block.
        branch: b = (∂F/∂x)ᵀ ∂E/∂y_l.
        other: what reaches x_l from outside the unit; None for nothing.
        shortcut_is_total: s is the very memory of ∂E/∂y_l, which an identity hands on untouched.
        in_order: all of them, in the order in which the engine adds them.
        last_is_free: the memory of the last of them is nobody else's, and may be written to.
    """

    shortcut: Tensor | None
    branch: Tensor | None
    other: Tensor | None
    shortcut_is_total: bool = False
    in_order: Sequence[Tensor] = ()
    last_is_free: bool = False


class UnaddableError(Exception):
    """The parts of a gradient cannot be added in the engine's place.

    The last one never came, so that the sum cannot be handed on, or the engine would first have
    changed a part's shape or type.
    """


@dataclass
class Place:
    """Where one unit is in the backward pass: numbers of ports, never a node.

    A hook that could reach its own node would make a cycle that the garbage collector may
    break before the hook has run (pytorch#102174).
    """

    unit: int
    fork: int
    total: int
    out: int
    mixed: bool
    tapped: bool = False
    awaited: int = 0
    adds: Kind | None = None
    read: list[tuple[Role, Tensor, bool]] = field(default_factory=list)
    # A mixed unit's gradients are kept whole, for `read_mixed`.
    kept: dict[str, Tensor | None] = field(default_factory=dict)


class Listener(Protocol):
    """What is done with gradients while they exist."""

    def arrived(self, port: int, gradient: Tensor) -> None:
        """See the whole gradient of one port: ∂E/∂x_l, ∂E/∂y_l or ∂E/∂x_{l+1}."""

    def parts(self, place: Place, parts: Parts) -> Tensor | None:
        """See the parts of ∂E/∂x_l, before autograd adds them up.

        Returns:
            their sum, if `place.adds` says that it takes the place of autograd's.
        """

    def whole(self, place: Place, arriving: Tensor) -> None:
        """See ∂E/∂x_l as autograd made it, after its parts."""


class PartReader:
    """Hooks for one backward pass over the graph of one forward pass.

    Args:
        units: the units of the forward pass.
        root: the loss's node.
        in_place_of_engine: add the parts of a gradient here and hand on their sum. The backward
            pass then raises `UnaddableError` where that cannot be done.

    Attributes:
        places: each unit's ports, by number.
    """

    def __init__(self, units: Sequence[TracedUnit], root: Node, *, in_place_of_engine: bool = False) -> None:
        ports: dict[Port, int] = {}
        self.places = [
            Place(
                unit=unit.index,
                fork=ports.setdefault(unit.fork, len(ports)),
                total=ports.setdefault(unit.total, len(ports)),
                out=ports.setdefault(unit.out, len(ports)),
                mixed=unit.split is not None and unit.split.mixed,
            )
            for unit in units
        ]
        into = edges_into(root, {unit.fork.node for unit in units}.union(*(unit.interior for unit in units)))
        for place, unit in zip(self.places, units, strict=True):
            place.tapped = _is_tapped(unit, into)
            place.mixed = place.mixed or place.tapped
        self._forks: dict[int, list[Place]] = {}
        self._mixed_totals: dict[int, list[Place]] = {}
        for place in self.places:
            self._forks.setdefault(place.fork, []).append(place)
            if place.mixed:
                self._mixed_totals.setdefault(place.total, []).append(place)
        self._watched: dict[Node, list[tuple[int, int]]] = {}
        for port, index in ports.items():
            self._watched.setdefault(port.node, []).append((port.output, index))
        self._consumers: dict[Node, list[tuple[int, int, Role]]] = {}
        for unit in units:
            roles = _roles(unit)
            for edge, output in into[unit.fork.node].items():
                if output == unit.fork.output:
                    role = roles.get(edge, "other")
                    self._consumers.setdefault(edge.consumer, []).append((edge.operand, unit.index, role))
                    self.places[unit.index].awaited += 1
        for places in self._forks.values():
            # Where two units fork at one value, the parts of each are only some of its gradient's.
            place = places[0]
            if in_place_of_engine and len(places) == 1 and not place.mixed and place.awaited > 1:
                place.adds = units[place.unit].fork.kind

    @property
    def needs_graph_again(self) -> bool:
        """Whether some unit's parts cannot be read at the fork and take a pass of their own."""
        return any(place.mixed for place in self.places)

    @contextmanager
    def hooked(self, listener: Listener) -> Iterator[None]:
        """Have all hooks in place while the context is open, and none after it."""
        with ExitStack() as stack:
            for consumer, inputs in self._consumers.items():
                # torch's addition hands on what arrives as it is, so that one hook can see both.
                outputs = self._watched.pop(consumer, ()) if consumer.name() == "AddBackward0" else ()
                passes = partial(self._passes, listener, inputs, outputs)
                stack.callback(consumer.register_hook(passes).remove)
            for node, outputs in self._watched.items():
                hook = partial(self._arrives, listener, outputs)
                stack.callback(node.register_prehook(hook).remove)
            self._watched, self._consumers = {}, {}
            yield
        for place in self.places:
            place.read.clear()

    def read_mixed(self, units: Sequence[TracedUnit], listener: Listener) -> None:
        """Take the parts that could not be read at the fork, each as a VJP of its own.

        The paths of an exclusive gate share its sigmoid, so the edges at the fork carry both
        parts; where something outside the unit uses a value inside its branch, they carry that
        part too. The VJP of h alone and that of F alone, with ∂E/∂y_l, tell them apart. What
        comes in between the fork and the addition is then all that is left of ∂E/∂x_l: it flows
        along no edge of its own. The graph of the forward pass must still be whole
        (`needs_graph_again`).
        """
        for place, unit in zip(self.places, units, strict=True):
            kept, place.kept = place.kept, {}
            total, arriving, other = kept.get("total"), kept.get("arriving"), kept.get("other")
            if not place.mixed or arriving is None:
                continue
            if total is None:  # the loss sees the unit's inside, and not what it adds up to
                listener.parts(place, Parts(None, None, arriving))
                listener.whole(place, arriving)
                continue
            shortcut = None
            if unit.split is None:
                branch = vjp(unit.total, 1.0, unit.fork, total)
            else:
                operand = unit.split.shortcut_operand
                shortcut = vjp_of_operand(unit, operand, total)
                branch = vjp_of_operand(unit, 1 - operand, total)
            if place.tapped:
                other = arriving - branch if shortcut is None else arriving - shortcut - branch
            listener.parts(place, Parts(shortcut, branch, other))
            listener.whole(place, arriving)

    def _passes(
        self,
        listener: Listener,
        inputs: list[tuple[int, int, Role]],
        outputs: Sequence[tuple[int, int]],
        grad_inputs: tuple[Tensor | None, ...],
        grad_outputs: tuple[Tensor | None, ...],
    ) -> tuple[Tensor | None, ...] | None:
        """Keep the part of a fork's gradient that has just been computed.

        Args:
            listener: is told when all parts are there.
            inputs: at which of its inputs the node reads forks, of which units, and what flows there.
            outputs: as for `_arrives`, if that is to be told of this node, too.
            grad_inputs: what the node has computed.
            grad_outputs: of what.

        Returns:
            what is handed on in place of `grad_inputs`; None if that is they themselves.

        Raises:
            UnaddableError: if the parts cannot be added here.
        """
        if outputs:
            self._arrives(listener, outputs, grad_outputs)
        handed_on: list[Tensor | None] | None = None
        for index, unit, role in inputs:
            place = self.places[unit]
            last = place.awaited == 1
            free = last and place.adds is not None and is_nobody_elses(grad_inputs, index)
            part = _without_history(grad_inputs[index])
            place.awaited -= 1
            if part is not None:
                same = role == "shortcut" and len(grad_outputs) == 1 and _is_same(grad_outputs[0], part)
                place.read.append((role, part, same))
            if place.adds is not None:
                if part is None or (part.shape, part.dtype) != place.adds:
                    raise UnaddableError
                handed_on = handed_on or list(grad_inputs)
                handed_on[index] = None
            if last and place.read:
                together = self._hand_on(place, listener, last_is_free=free)
                if handed_on is not None and place.adds is not None:
                    handed_on[index] = together
        return None if handed_on is None else tuple(handed_on)

    def _arrives(
        self, listener: Listener, outputs: Sequence[tuple[int, int]], grad_outputs: tuple[Tensor | None, ...]
    ) -> None:
        """Hand on the whole gradient at a node, and at a fork what it is the sum of.

        Args:
            listener: is told.
            outputs: which of the node's outputs are ports, and of what number.
            grad_outputs: what has arrived at the node.
        """
        for output, port in outputs:
            gradient = _without_history(grad_outputs[output])
            if gradient is None:
                continue
            listener.arrived(port, gradient)
            for place in self._forks.get(port, ()):
                if place.mixed:
                    place.kept["arriving"] = gradient
                else:
                    listener.whole(place, gradient)
            for place in self._mixed_totals.get(port, ()):
                place.kept["total"] = gradient

    def _hand_on(self, place: Place, listener: Listener, *, last_is_free: bool) -> Tensor | None:
        """Give a unit's parts to the listener, or keep them if they are mixed, and let go of them.

        Args:
            place: of the unit.
            listener: is given them.
            last_is_free: as for `Parts`.

        Returns:
            what the listener made of them.
        """
        read, place.read = place.read, []
        by_role: dict[Role, Tensor] = {}
        untouched = False
        for role, part, same in read:
            if role in by_role:
                by_role[role] = by_role[role] + part
                untouched = untouched and role != "shortcut"
            else:
                by_role[role] = part
                untouched = untouched or (same and role == "shortcut")
        if place.mixed:
            place.kept["other"] = by_role.get("other")
            return None
        shortcut, branch, other = by_role.get("shortcut"), by_role.get("branch"), by_role.get("other")
        in_order = [part for _, part, _ in read]
        return listener.parts(place, Parts(shortcut, branch, other, untouched, in_order, last_is_free))


def _without_history(gradient: Tensor | None) -> Tensor | None:
    """Return a gradient itself, or without the history that it has where it is to be differentiated again."""
    return gradient.detach() if gradient is not None and gradient.requires_grad else gradient


def _is_same(first: Tensor | None, second: Tensor) -> bool:
    """Whether two tensors of one layout are the same memory."""
    if first is second:
        return True
    return first is not None and first.data_ptr() == second.data_ptr() and first.shape == second.shape


def vjp_of_operand(unit: TracedUnit, operand: int, cotangent: Tensor) -> Tensor:
    """Return (∂operand/∂x_l)ᵀ `cotangent` for one operand of the unit's addition alone."""
    port, factor = unit.operand(operand)
    return vjp(port, factor, unit.fork, cotangent)


def vjp(value: Port, factor: float, fork: Port, cotangent: Tensor) -> Tensor:
    """Return (∂(factor · value)/∂fork)ᵀ `cotangent`."""
    (part,) = torch.autograd.grad(
        [GradientEdge(value.node, value.output)],
        [GradientEdge(fork.node, fork.output)],
        [cotangent if factor == 1 else cotangent * factor],
        retain_graph=True,
    )
    return part


def _is_tapped(unit: TracedUnit, into: dict[Node, dict[Edge, int]]) -> bool:
    """Whether something outside the unit, on which the loss depends, uses a value inside it."""
    inside = {unit.total.node, *unit.interior}
    return any(edge.consumer not in inside for node in unit.interior for edge in into[node])


def _roles(unit: TracedUnit) -> dict[Edge, Role]:
    """Return what each of the unit's edges into its fork carries."""
    roles: dict[Edge, Role] = dict.fromkeys(unit.branch_edges, "branch")
    if unit.split is not None:
        roles |= dict.fromkeys(unit.split.mixed_edges, "mixed")
        roles |= dict.fromkeys(unit.split.shortcut_edges, "shortcut")
        if unit.shortcut_is_fork:
            roles[Edge(unit.total.node, unit.split.shortcut_operand)] = "shortcut"
    return roles
