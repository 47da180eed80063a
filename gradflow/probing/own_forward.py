"""Somebody else's forward pass: whether it can be measured, and which backward pass goes through it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from gradflow.errors import ProbeError
from gradflow.units.calling import traceable
from gradflow.units.tracing import UnitTracer


def refuse_functional(model: nn.Module, named: dict[str, Tensor]) -> None:
    """Refuse forward passes that are not those of the module and its own parameters.

    Raises:
        ProbeError: naming the function of torch.func.
    """
    name = type(model).__name__
    if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 - no public name
        raise ProbeError(
            f"{name} runs inside a transform of torch.func (grad, vjp, vmap, …), whose gradients pass no "
            "hook; measure a step with loss.backward(), or use gradflow.probe on the module itself"
        )
    if any(not isinstance(parameter, nn.Parameter) for parameter in named.values()):
        raise ProbeError(
            f"{name} runs on parameters that are not its own (torch.func.functional_call), which cannot be "
            "told apart; call the module itself in a step that is measured"
        )


def with_history(value: Any, leaves: list[Tensor]) -> Any:
    """Give an argument that is a tensor without history one, so that a unit may fork at it.

    Args:
        value: the argument.
        leaves: gets the leaves behind such arguments.
    """
    if not isinstance(value, Tensor) or value.requires_grad:
        return value
    called_with, new = traceable(value)
    leaves += new
    return called_with


def loss_of(roots: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return what a call of `backward` differentiates, as one loss: Σ wᵢ Eᵢ, where weights may be 1.

    Args:
        roots: what it was called for.
        kwargs: what it was called with by name, the weights among it.

    Returns:
        the loss; None if there is none: of gradient edges, and where torch has an error to raise.
    """
    given = kwargs.get("gradient", kwargs.get("grad_tensors"))
    weights = given if isinstance(given, (tuple, list)) else [given] * len(roots)
    if len(weights) != len(roots) or not all(isinstance(root, Tensor) for root in roots):
        return None
    if len(roots) == 1 and weights[0] is None:
        root: Tensor = roots[0]
        return root
    if not all(root.requires_grad for root in roots):
        return None
    terms: list[Tensor] = [
        (root if weight is None else root * weight.detach()).sum()
        for root, weight in zip(roots, weights, strict=True)
    ]
    return functools.reduce(lambda total, term: total + term.to(total), terms)


def reached(root: Node, tracers: Sequence[UnitTracer]) -> set[UnitTracer]:
    """Return those forward passes of which a backward pass from `root` goes through one of the units."""
    wanted = {unit.total.node: tracer for tracer in tracers for unit in tracer.units}
    found: set[UnitTracer] = set()
    stack, seen = [root], {root}
    while stack and len(found) < len(tracers):
        node = stack.pop()
        if node in wanted:
            found.add(wanted[node])
        for origin, _ in node.next_functions:
            if origin is not None and origin not in seen:
                seen.add(origin)
                stack.append(origin)
    return found


def is_plain(run: Any, kwargs: dict[str, Any], root: Node) -> bool:
    """Whether the parts of a gradient may be added in the engine's place in a pass that is run only once.

    Not where the last of them may never come, so that nothing could be handed on: in a pass that does not go
    through all of the graph, or where a function written in Python may say that no gradient flows. Nor where
    gradients are to be differentiated again, and their sum would need a history.

    Args:
        run: a partial call of `backward`, with the loss alone or with more by position.
        kwargs: what it is called with by name.
        root: the loss's node.
    """
    if len(getattr(run, "args", ())) != 1 or kwargs.get("inputs") or kwargs.get("create_graph"):
        return False
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        if issubclass(type(node), BackwardCFunction):
            return False
        for origin, _ in node.next_functions:
            if origin is not None and origin not in seen:
                seen.add(origin)
                stack.append(origin)
    return True
