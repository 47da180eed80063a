"""Running a network with units left out or exchanged, without editing it.

A unit is left out by leaving its branch out of its addition: y = h(x). Additions are told by
their order of execution, which one traced forward pass has shown, so nothing need be known
about the modules. A block that the user named, without a shortcut, is left out by handing on
its input. Units are exchanged by running one's module in the other's place. All of it is undone
after each pass, also after an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from gradflow.determinism import preserved_random_state
from gradflow.errors import ProbeError
from gradflow.probing.additions import CountingTracer, LeavingOut
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.units import FoundUnits, Inputs, UnitSelection
from gradflow.units.calling import call_model, traceable
from gradflow.units.eager import eager
from gradflow.units.finding import describe, require_units, selector
from gradflow.units.modules import first_tensor, watching
from gradflow.units.state import preserved_model

Shapes = tuple[torch.Size, torch.Size]
"""Shape of a module's first input, and of its output."""


@dataclass(frozen=True)
class Lesion:
    """What is changed in a network.

    Attributes:
        removed: units whose branch is left out.
        exchanged: for a unit the one that runs in its place.
    """

    removed: frozenset[int] = frozenset()
    exchanged: Mapping[int, int] = field(default_factory=dict)


class LesionedNetwork:
    """A network that can be run with lesions; valid inside `lesionable`.

    Args:
        model: the network.
        handling: how batch normalisation runs.
        tracer: has seen a forward pass.
        calls: shapes of every call of every module, by name.

    Attributes:
        units: the units, in order of execution.
        removable: units that can be left out; a named block cannot if it changes the shape.
        exchangeable: groups of units that can stand in for each other: of one stage, each alone
            in its module, which is called once and maps one shape to the same.
    """

    def __init__(
        self,
        model: nn.Module,
        handling: BatchNormHandling,
        tracer: CountingTracer,
        calls: Mapping[str, list[Shapes]],
    ) -> None:
        self.units = describe(dict(model.named_parameters()), tracer)
        shapes = {unit.index: calls.get(unit.name, []) for unit in self.units}
        constant = {index for index, seen in shapes.items() if len(seen) == 1 and seen[0][0] == seen[0][1]}
        self.removable = [
            unit.index for unit in self.units if unit.shortcut != "none" or unit.index in constant
        ]
        self.exchangeable = _groups(self.units, constant, shapes)
        self._model = model
        self._handling = handling
        self._additions = tracer.additions
        self._count = tracer.count
        self._modules = dict(model.named_modules())

    def run(self, inputs: Inputs, lesion: Lesion) -> Any:
        """Return the outputs of the network with a lesion, without gradients.

        Args:
            inputs: what the model is called with.
            lesion: what is changed.

        Raises:
            ProbeError: if a unit cannot be removed or exchanged, or the network does not run the
                additions that it ran when it was traced.
        """
        self._require_possible(lesion)
        left_out = dict(self._additions[unit] for unit in lesion.removed if unit in self._additions)
        mode = LeavingOut(left_out)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(preserved_random_state())
            for unit in lesion.removed - self._additions.keys():
                handle = self._module(unit).register_forward_hook(_hand_on)
                stack.callback(handle.remove)
            stack.enter_context(
                _exchanged({self._module(a): self._module(b) for a, b in lesion.exchanged.items()})
            )
            stack.enter_context(self._handling.replacing())
            stack.enter_context(mode)
            outputs = call_model(self._model, inputs)
        if mode.count != self._count:
            raise ProbeError(
                f"the network ran {mode.count} additions of equal shapes, and {self._count} when traced, "
                "so its units cannot be told by their order: lesions need a network that does not change"
            )
        return outputs

    def _module(self, unit: int) -> nn.Module:
        module: nn.Module = self._modules[self.units[unit].name]
        return module

    def _require_possible(self, lesion: Lesion) -> None:
        stuck = sorted(lesion.removed - set(self.removable))
        if stuck:
            raise ProbeError(
                f"unit {stuck[0]} cannot be removed: there is none, or it changes the shape and has no "
                f"shortcut; units that can: {', '.join(map(str, self.removable)) or 'none'}"
            )
        for unit, other in lesion.exchanged.items():
            if not any(unit in group and other in group for group in self.exchangeable):
                groups = "; ".join(", ".join(map(str, group)) for group in self.exchangeable) or "none"
                raise ProbeError(
                    f"units {unit} and {other} cannot be exchanged; that can be done within these: {groups}"
                )
        if sorted(lesion.exchanged) != sorted(lesion.exchanged.values()):
            raise ProbeError("an exchange of units must put each of them in exactly one place")


@contextmanager
def lesionable(
    model: nn.Module, inputs: Inputs, *, bn: BatchNormMode = "running", units: UnitSelection | None = None
) -> Iterator[LesionedNetwork]:
    """Find the units of `model`, to be run with lesions while the context is open.

    The model is left as it was when the context closes, also after an exception.

    Args:
        model: any network.
        inputs: as for `probe`; shows where the units are.
        bn: as for `probe`.
        units: as for `probe`.
    """
    model = eager(model)
    handling = BatchNormHandling(bn)
    selected = selector(units)
    tracer = CountingTracer(selected, handling)
    calls: dict[str, list[Shapes]] = {}
    called_with, _ = traceable(inputs)
    with preserved_model(model), preserved_random_state():
        handling.prepare(model)
        with torch.enable_grad(), _recorded(model, calls), watching(model, tracer, selected):
            call_model(model, called_with)
        require_units(model, tracer, units)
        network = LesionedNetwork(model, handling, tracer, calls)
        tracer.forget_graph()
        del called_with
        yield network


def _hand_on(_module: nn.Module, args: tuple[Any, ...], _output: Any) -> Any:
    return first_tensor(list(args))


@contextmanager
def _recorded(model: nn.Module, calls: dict[str, list[Shapes]]) -> Iterator[None]:
    """Note the shapes of every call of every module while the context is open."""

    def note(
        name: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        given, returned = first_tensor([*args, *kwargs.values()]), first_tensor([output])
        if given is not None and returned is not None:
            calls.setdefault(name, []).append((given.shape, returned.shape))

    with ExitStack() as stack:
        for name, module in model.named_modules():
            handle = module.register_forward_hook(partial(note, name), with_kwargs=True)
            stack.callback(handle.remove)
        yield


@contextmanager
def _exchanged(modules: Mapping[nn.Module, nn.Module]) -> Iterator[None]:
    """Have each module compute what another one would, while the context is open."""
    forwards = {module: other.forward for module, other in modules.items()}
    before = {module: vars(module).get("forward") for module in modules}
    try:
        for module, forward in forwards.items():
            vars(module)["forward"] = forward
        yield
    finally:
        for module, own in before.items():
            if own is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = own


def _groups(
    units: FoundUnits, constant: set[int], shapes: Mapping[int, list[Shapes]]
) -> list[tuple[int, ...]]:
    """Return the groups, of two units or more, whose members can be exchanged."""
    names = [unit.name for unit in units]
    groups: dict[tuple[int, Shapes], list[int]] = {}
    for unit in units:
        if unit.index in constant and names.count(unit.name) == 1 and unit.name:
            groups.setdefault((unit.stage, shapes[unit.index][0]), []).append(unit.index)
    return [tuple(group) for group in groups.values() if len(group) > 1]
