"""The walk from an addition's operands to their fork, on graphs small enough to draw."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gradflow.units import fork
from gradflow.units.classification import split_addition
from gradflow.units.fork import BOTH, FIRST, SECOND, find_fork
from gradflow.units.graph import Edge, Port, between, depends_on, edges_into
from gradflow.units.operations import function_name, is_product_of_values, operation


@pytest.fixture
def x() -> Tensor:
    """Return a value with a history, as a fork has."""
    return torch.randn(3, 3, requires_grad=True).clone()


@pytest.fixture
def weight() -> Tensor:
    """Return a parameter."""
    return torch.randn(3, 3, requires_grad=True)


def walk_from(first: Tensor, second: Tensor):
    """Return the walk from two operands."""
    return find_fork(Port.of(first), Port.of(second))


def test_fork_is_the_nearest_common_node(x: Tensor, weight: Tensor) -> None:
    """Of all nodes that both paths share, the fork is the last one before they part."""
    near = torch.tanh(x)
    walk = walk_from(near, torch.relu(near @ weight))
    assert walk.fork == Port.of(near)
    assert walk.nodes_of(FIRST) == []
    assert [operation(node) for node in walk.nodes_of(SECOND)] == ["Relu", "Mm"]
    assert walk.parameters_of(SECOND) == [weight]
    assert walk.edges_of(SECOND) == [Edge(walk.nodes_of(SECOND)[1], 0)]


def test_an_operand_may_be_the_fork(x: Tensor) -> None:
    """Where an operand is the fork itself, no edge between them is counted for it."""
    walk = walk_from(x, torch.tanh(x))
    assert walk.fork == Port.of(x)
    assert walk.edges_of(FIRST) == []
    assert walk_from(x, x).fork == Port.of(x)


def test_operands_without_common_origin(weight: Tensor) -> None:
    """Two parameters' products share no value."""
    walk = walk_from(torch.tanh(weight @ torch.ones(3, 3)), torch.tanh(torch.ones(3, 3, requires_grad=True)))
    assert walk.fork is None
    assert split_addition(walk) == "its operands do not come from one tensor"


def test_shared_nodes_belong_to_both(x: Tensor, weight: Tensor) -> None:
    """An exclusive gate's sigmoid stands on both paths, and its edge at the fork mixes them."""
    gate = torch.sigmoid(x @ weight)
    own = torch.randn(3, 3, requires_grad=True)
    walk = walk_from((1 - gate) * x, gate * torch.tanh(x @ own))
    assert {operation(node) for node in walk.nodes_of(BOTH)} == {"Sigmoid", "Mm"}
    assert len(walk.edges_of(BOTH)) == 1
    assert (walk.parameters_of(BOTH), walk.parameters_of(SECOND)) == ([weight], [own])
    split = split_addition(walk)
    assert split.mixed
    assert split.shortcut == "gated"
    assert set(split.branch_parameters) == {weight, own}


def test_what_was_made_before_the_fork_is_a_side_input(x: Tensor, weight: Tensor) -> None:
    """A branch may read a value from before the fork: the fork stays the shortcut's."""
    context = torch.tanh(x @ weight)
    signal = torch.relu(x)
    walk = walk_from(signal, signal @ weight * context)
    assert walk.fork == Port.of(signal)
    assert walk.side_inputs == {context.grad_fn}
    assert walk.reads_beside == SECOND
    assert {operation(node) for node in walk.reached} == {"Mm", "Mul"}
    split = split_addition(walk)
    assert (split.shortcut, split.side_inputs) == ("identity", {context.grad_fn})


def test_what_was_made_after_the_fork_is_none(x: Tensor, weight: Tensor) -> None:
    """A bias that the branch makes of a parameter is above the fork, though x_l does not go into it."""
    bias = torch.tanh(weight)
    walk = walk_from(x, torch.relu(x @ weight) * bias)
    assert walk.fork == Port.of(x)
    assert not walk.side_inputs
    assert bias.grad_fn in walk.reached
    assert {operation(node) for node in split_addition(walk).interior} == {"Mm", "Relu", "Mul"}


def test_both_operands_may_not_read_beside_the_fork(x: Tensor, weight: Tensor) -> None:
    """Where each operand reads another value from before, the fork lies before both of them."""
    left, right = torch.tanh(x), torch.sigmoid(x)
    signal = torch.relu(x)
    walk = walk_from(signal * left, (signal @ weight) * right)
    assert walk.fork == Port.of(x)


def test_dependence_is_found_along_any_path(x: Tensor, weight: Tensor) -> None:
    """A value depends on what it was made of, and on nothing beside that."""
    first, second = torch.tanh(x), torch.relu(x)
    made = (first @ weight).exp()
    assert depends_on(Port.of(made), first.grad_fn)
    assert depends_on(Port.of(made), x.grad_fn)
    assert not depends_on(Port.of(made), second.grad_fn)


def test_parameters_short_of_a_node(x: Tensor, weight: Tensor) -> None:
    """Parameters that can only be reached through a node are not among those short of it."""
    other = torch.randn(3, 3, requires_grad=True)
    inner = x @ other
    walk = walk_from(x, torch.relu(inner) @ weight)
    assert walk.parameters_short_of(set()) == {weight, other}
    assert walk.parameters_short_of({inner.grad_fn}) == {weight}


def test_a_product_of_two_values_is_no_projection(x: Tensor, weight: Tensor) -> None:
    """Attention's scores are a product of values; a weight that is moved about or computed is none."""

    def is_product(value: Tensor) -> bool:
        walk = walk_from(x, value)
        assert walk.fork == Port.of(x)
        return is_product_of_values(value.grad_fn, walk.values)

    assert is_product(torch.tanh(x) @ torch.relu(x))
    assert not is_product(torch.tanh(x) @ weight.t())
    assert not is_product(torch.tanh(x) @ (weight / weight.norm()))
    assert not is_product(torch.tanh(x) @ weight.detach())


def test_what_a_weight_is_made_of_is_on_no_path(x: Tensor, weight: Tensor) -> None:
    """A weight's own computation is reached, and its parameter found, but it is no node of the path."""
    walk = walk_from(x, torch.relu(x @ torch.exp(weight)))
    assert {operation(node) for node in walk.reached} == {"Relu", "Mm", "Exp"}
    assert {operation(node) for node in walk.nodes_of(SECOND)} == {"Relu", "Mm"}
    assert walk.parameters_of(SECOND) == [weight]


@pytest.mark.parametrize("cast", [False, True])
def test_a_cast_of_x_makes_nothing_older_than_it(x: Tensor, weight: Tensor, cast: bool) -> None:
    """What was made between x and its cast is no older than x_l, whether there is a cast or not."""
    beside = torch.sigmoid(x.detach() @ weight)
    value = x.to(torch.float64) if cast else x
    walk = walk_from(value, value * beside)
    assert walk.fork == Port.of(value)
    assert walk.parameters_of(SECOND) == [weight]
    assert not walk.side_inputs


BRANCHES = {
    "a chain": lambda x, weight: torch.relu(torch.tanh(x) @ weight),
    "weights twice": lambda x, weight: torch.relu(x @ weight) @ weight,
    "x itself": lambda x, _: x,
    "two ways": lambda x, weight: torch.tanh(x @ weight) * x,
    "a weight's own computation": lambda x, weight: x @ torch.exp(weight),
    "something older": lambda x, weight: (x @ weight) * torch.sigmoid(x.detach() @ weight),
    "no way": lambda _, weight: torch.exp(weight) @ torch.exp(weight),
    "a part of x": lambda x, weight: torch.relu(x.split(1, 1)[1].expand_as(x) @ weight),
}
"""Branches by what they are."""

CHAINS = {"a chain", "weights twice", "a part of x"}
"""Those that are one operation after another."""


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", BRANCHES)
def test_a_chain_is_followed_as_any_walk_goes(
    x: Tensor, weight: Tensor, name: str, turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is followed directly is what the walk finds that looks everywhere; a chain is followed."""
    operands = Port.of(x), Port.of(BRANCHES[name](x, weight))
    operands = operands[::-1] if turned else operands
    found = find_fork(*operands)
    assert (fork._chain_beside(*operands, math.inf) is not None) == (name in CHAINS)
    monkeypatch.setattr(fork, "_chain_beside", lambda *_: None)
    expected = find_fork(*operands)
    for name in ("fork", "reached", "edges", "mixed_outputs", "side_inputs", "reads_beside", "interior"):
        assert getattr(found, name) == getattr(expected, name)
    assert found.parameters.keys() == expected.parameters.keys()
    assert [found.nodes_of(side) for side in (FIRST, SECOND, BOTH)] == [
        expected.nodes_of(side) for side in (FIRST, SECOND, BOTH)
    ]


def test_a_chain_from_another_output_is_no_chain_from_x(x: Tensor, weight: Tensor) -> None:
    """What one output of a split is made into goes back to the split, but not to the other output."""
    first, second = x.repeat(1, 2).split(x.shape[1], 1)
    walk = find_fork(Port.of(first), Port.of(torch.relu(second @ weight)))
    assert walk.mixed_outputs
    assert not find_fork(Port.of(first), Port.of(torch.relu(first @ weight))).mixed_outputs


def test_a_walk_may_be_given_up(x: Tensor) -> None:
    """After as many visits as one likes there is no fork."""
    value = torch.tanh(torch.tanh(torch.tanh(x)))
    assert find_fork(Port.of(x), Port.of(value), visits=4).fork == Port.of(x)
    assert find_fork(Port.of(x), Port.of(value), visits=3).fork is None


def test_nodes_and_edges_between_two_values(x: Tensor) -> None:
    """What lies between two values comes in the order of the forward pass; each use is an edge."""
    y = torch.relu(torch.tanh(x) * x)
    nodes, edges = between(Port.of(x), Port.of(y))
    assert function_name(nodes) == "tanh+mul+relu"
    assert {(operation(edge.consumer), edge.operand) for edge in edges} == {("Tanh", 0), ("Mul", 1)}


def test_nothing_between_unrelated_values(x: Tensor, weight: Tensor) -> None:
    """No edge says that the later value does not depend on the earlier one."""
    assert between(Port.of(x), Port.of(torch.tanh(weight)))[1] == []
    assert between(Port.of(x), Port.of(x)) == ([], [])


def test_every_consumer_of_a_value_is_found(x: Tensor, weight: Tensor) -> None:
    """Below the loss, all edges into a value are listed, and no value that the loss does not use."""
    first, second = torch.tanh(x), torch.relu(x)
    torch.sigmoid(x)  # the loss does not use it
    loss = (first @ weight + second).sum()
    found = edges_into(loss.grad_fn, [x.grad_fn])[x.grad_fn]
    assert {operation(edge.consumer) for edge in found} == {"Tanh", "Relu"}
    assert set(found.values()) == {0}


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda x: x.view(-1).view(3, 3), "identity"),
        (torch.relu, "relu"),
        (torch.nn.functional.silu, "silu"),
        (lambda x: torch.nn.functional.layer_norm(x, (3,)), "layer_norm"),
        (
            lambda x: torch.relu(torch.nn.functional.batch_norm(x, None, None, training=True)),
            "batch_norm+relu",
        ),
        (lambda x: torch.tanh(torch.relu(torch.sigmoid(x.exp()))), "other"),
    ],
)
def test_functions_are_named(x: Tensor, f, name: str) -> None:
    """f is named by its operations in order; moving values is none; more than three have no name."""
    nodes, _ = between(Port.of(x), Port.of(f(x)))
    assert function_name(nodes) == name
