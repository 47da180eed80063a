"""Ways to combine x_l and F(x_l) other than the sum of two tensors of one shape.

They are not measured, and where one of them does what a residual addition does, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradflow.units.graph import Port
from gradflow.units.operations import is_made_of_leaves

Pairs = Iterator[tuple[Port, Port]]

IN_PLACE_ADDITIONS = {Tensor.add_, Tensor.__iadd__}
ADDITIONS = {
    torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, torch.ops.aten.add, torch.ops.aten.add.Tensor,
} | IN_PLACE_ADDITIONS  # fmt: skip
"""The functions that add."""

IN_PLACE_SUBTRACTIONS = {Tensor.sub_, Tensor.__isub__, Tensor.subtract_}
SUBTRACTIONS = {
    torch.sub, torch.subtract, Tensor.sub, Tensor.subtract, Tensor.__sub__, torch.ops.aten.sub,
    torch.ops.aten.sub.Tensor,
} | IN_PLACE_SUBTRACTIONS  # fmt: skip
"""The functions that subtract their second operand from their first."""

SUMS = ADDITIONS | SUBTRACTIONS
IN_PLACE = IN_PLACE_ADDITIONS | IN_PLACE_SUBTRACTIONS
"""Those of them that write into their first operand."""


_NUMBERS = {int, float}


def summands(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Return the operands of a sum or difference of two tensors of one shape; None for any other."""
    first = args[0] if args else kwargs.get("input")
    second = args[1] if len(args) > 1 else kwargs.get("other")
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)) or first.shape != second.shape:
        return None
    return first, second


def adds_number(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether a call adds or subtracts a number; with the number 0 Python's `sum` begins."""
    return bool(args) and type(args[-1]) in _NUMBERS and func in SUMS


@dataclass(frozen=True)
class Combination:
    """A function that may combine x_l and F(x_l).

    Attributes:
        form: what it does, in words.
        pairs: for a call's arguments the pairs of values that may be x_l and F(x_l).
        weighs: whether it multiplies the second of them by a weight.
    """

    form: str
    pairs: Callable[[tuple[Any, ...], dict[str, Any]], Pairs]
    weighs: bool = False


def _ports(*values: Any) -> Iterator[Port]:
    """Yield where those values come from that the forward pass has made, and not only of a parameter."""
    for value in values:
        if isinstance(value, Tensor) and value.ndim > 1 and value.grad_fn is not None:
            port = Port.of(value)
            if port is not None and not is_made_of_leaves(port.node):
                yield port


def _named(args: tuple[Any, ...], kwargs: dict[str, Any], *names: str) -> list[Any]:
    """Return a call's arguments in their order, whichever way they were given.

    Args:
        args: those by position.
        kwargs: those by name.
        names: what each is called; words that several functions use for it are apart by a space.
    """
    by_name = (
        next((kwargs[word] for word in name.split() if word in kwargs), None) for name in names[len(args) :]
    )
    return [*args[: len(names)], *by_name]


def _first_with_others(*names: str) -> Callable[[tuple[Any, ...], dict[str, Any]], Pairs]:
    def pairs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pairs:
        first, *others = _named(args, kwargs, *names)
        return product(_ports(first), _ports(*others))

    return pairs


def _listed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pairs:
    first, second = _named(args, kwargs, "self", "other")
    if isinstance(first, (tuple, list)) and isinstance(second, (tuple, list)):
        for one, other in zip(first, second, strict=False):
            yield from product(_ports(one), _ports(other))


def _stacked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pairs:
    value = args[0] if args else kwargs.get("input")
    if isinstance(value, Tensor) and value.grad_fn is not None and value.grad_fn.name() == "StackBackward0":
        ports = [Port(node, output) for node, output in value.grad_fn.next_functions if node is not None]
        yield from ((ports[0], other) for other in ports[1:])


def _one_plus(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pairs:
    if args and type(args[-1]) in _NUMBERS:
        return
    values = _named(args, kwargs, "input", "other")
    for value, factor in (values, values[::-1]):
        if not isinstance(factor, Tensor) or not isinstance(value, Tensor) or value.grad_fn is None:
            continue
        added = _added_to_a_number(factor.grad_fn)
        if added is not None:
            yield from product(_ports(value), [added])


def _added_to_a_number(node: Node | None) -> Port | None:
    if node is None or node.name() != "AddBackward0":
        return None
    (first, output), *others = node.next_functions
    if first is None or any(origin is not None for origin, _ in others) or is_made_of_leaves(first):
        return None
    return Port(first, output)


_GROUPS: list[tuple[Combination, set[Any]]] = [
    (
        Combination(
            "a sum of two shapes, of which one is broadcast,",
            _first_with_others("input", "other"),
        ),
        SUMS,
    ),
    (
        Combination("torch.lerp", _first_with_others("input", "end")),
        {torch.lerp, Tensor.lerp, Tensor.lerp_},
    ),
    (
        Combination("torch.addcmul", _first_with_others("input", "tensor1", "tensor2")),
        {torch.addcmul, Tensor.addcmul, Tensor.addcmul_, torch.addcdiv, Tensor.addcdiv, Tensor.addcdiv_},
    ),
    (
        Combination(
            "torch.addmm, or another that adds to a product,",
            _first_with_others("input", "mat1 batch1 vec1", "mat2 batch2 vec2"),
            weighs=True,
        ),
        {
            torch.addmm, Tensor.addmm, Tensor.addmm_, torch.baddbmm, Tensor.baddbmm, Tensor.baddbmm_,
            torch.addbmm, Tensor.addbmm, Tensor.addbmm_, torch.addr, Tensor.addr,
        },
    ),
    (
        Combination("torch.rsub", _first_with_others("input", "other")),
        {torch.rsub, Tensor.__rsub__},
    ),
    (
        Combination("a sum over a stack", _stacked),
        {torch.sum, Tensor.sum, torch.mean, Tensor.mean},
    ),
    (
        Combination("torch._foreach_add", _listed),
        {torch._foreach_add, torch._foreach_add_, torch._foreach_sub, torch._foreach_sub_},  # noqa: SLF001
    ),
    (
        Combination("a product with 1 + F", _one_plus),
        {
            torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__,
            torch.multiply,
        },
    ),
]  # fmt: skip

COMBINATIONS: dict[Any, Combination] = {function: form for form, group in _GROUPS for function in group}
"""What may combine x_l and F(x_l) in a way that is not measured, by function."""
