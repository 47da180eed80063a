"""Backward passes of a user's own in which the parts of a gradient are not the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from torch import Tensor, nn
from torch.nn import functional as F

import gradflow
from gradflow.errors import ProbeError
from gradflow.probing.parts import PartReader


class Silent(torch.autograd.Function):
    """The identity, whose backward pass says that no gradient flows."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, _gradient: Tensor) -> None:
        return None


class Broadcast(torch.autograd.Function):
    """The identity, whose gradient comes in a shape and type that the engine has to mend."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient.double().expand(2, *gradient.shape)


COMBINE: dict[str, Callable[[Tensor, nn.Module], Tensor]] = {
    "the branch's never comes": lambda x, f: x + f(Silent.apply(x)),
    "one of three never comes": lambda x, f: x + f(x) * f(Silent.apply(x)),
    "two of three never come": lambda x, f: x + f(Silent.apply(x)) * torch.tanh(Silent.apply(x)),
    "the branch's is mended": lambda x, f: x + f(Broadcast.apply(x)),
    "one of three is mended": lambda x, f: x + f(Broadcast.apply(x)) * f(x),
}


def backward(model: nn.Module, **options: Any) -> None:
    """Run one backward pass."""
    if options.get("inputs"):
        options["inputs"] = [model.head.weight, model.branches[1][0].weight]
    F.cross_entropy(model(rows()), labels()).backward(**options)


@pytest.mark.parametrize("combine", COMBINE)
def test_functions_written_in_python(combine: str) -> None:
    """Where a gradient may end before it comes, all have the bits of a pass without recorder."""
    plain, recorded = (seeded(lambda: Chain(COMBINE[combine])) for _ in range(2))
    backward(plain)
    with gradflow.Recorder(recorded, every=1) as recorder:
        backward(recorded)
        recorder.step()
    for (name, one), other in zip(plain.named_parameters(), recorded.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    assert len(recorder.record.units) == 3


@pytest.mark.parametrize("python", [False, True], ids=["torch's functions", "one in Python"])
def test_parts_are_added_in_the_engine_s_place_where_that_is_safe(
    python: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With functions of torch's own alone the sum is made once; with any other the engine makes it."""
    adding: list[bool] = []
    make = PartReader.__init__

    def noted(self: PartReader, *args: Any, in_place_of_engine: bool = False) -> None:
        adding.append(in_place_of_engine)
        make(self, *args, in_place_of_engine=in_place_of_engine)

    monkeypatch.setattr(PartReader, "__init__", noted)
    model = seeded(lambda: Chain(COMBINE["one of three is mended"]) if python else Chain())
    with gradflow.Recorder(model, every=1) as recorder:
        backward(model)
        recorder.step()
    assert adding == [not python]


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph:UserWarning")
@pytest.mark.parametrize(
    "options", [{"create_graph": True}, {"inputs": True}, {"retain_graph": True}], ids=str
)
def test_passes_with_options(options: dict[str, Any]) -> None:
    """Gradients, and gradients of gradients, are those without recorder; values are the probe's."""
    expected = gradflow.probe(seeded(Chain), rows(), labels()).units
    gradients = []
    for recording in (False, True):
        model = seeded(Chain)
        if recording:
            with gradflow.Recorder(model, every=1) as recorder:
                backward(model, **options)
                recorder.step()
        else:
            backward(model, **options)
        found = [parameter.grad for parameter in model.parameters()]
        if options.get("create_graph"):
            norm = sum(one.square().sum() for one in found if one is not None)
            found += torch.autograd.grad(norm, list(model.parameters()), allow_unused=True)
        gradients.append(found)
        model.zero_grad()
    for one, other in zip(*gradients, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    column = "grad_sum_norm" if options.get("inputs") else "grad_in_norm"
    found_norms = recorder.record.units[column].tolist()[1:]
    assert found_norms == pytest.approx(expected[column].tolist()[1:], rel=1e-6)


@pytest.mark.parametrize("weights", [None, [None, 0.5], [2.0, -3.0]], ids=str)
def test_one_pass_from_several_losses(weights: list[float | None] | None) -> None:
    """`torch.autograd.backward` of several losses is measured as the pass of their weighted sum."""
    factors = [1.0 if weight is None else weight for weight in weights or [None, None]]

    def losses(outputs: Tensor) -> list[Tensor]:
        return [F.cross_entropy(outputs, labels()), outputs.square().mean(dim=(0, 1), keepdim=True)]

    def run(model: nn.Module) -> None:
        values = losses(model(rows()))
        given = None
        if weights is not None:
            given = [
                None if weight is None and value.ndim == 0 else torch.full_like(value, factor)
                for weight, value, factor in zip(weights, values, factors, strict=True)
            ]
        torch.autograd.backward(values, given)

    expected = gradflow.probe(
        seeded(Chain),
        rows(),
        loss=lambda outputs: sum(w * one.sum() for w, one in zip(factors, losses(outputs), strict=True)),
    )
    plain, recorded = seeded(Chain), seeded(Chain)
    run(plain)
    with gradflow.Recorder(recorded, every=1) as recorder:
        run(recorded)
        recorder.step()
    for one, other in zip(plain.parameters(), recorded.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
    record = recorder.record
    for column in ("x_norm", "grad_in_norm", "grad_branch_norm", "grad_shortcut_norm", "param_grad_norm"):
        assert record.units[column].tolist() == pytest.approx(expected.units[column].tolist(), rel=1e-6)
    assert record.meta["loss"]["value"] == pytest.approx(expected.meta["loss"]["value"], rel=1e-6)


def test_several_losses_of_which_one_is_no_loss() -> None:
    """One of several numbers is refused as a single one is; what torch refuses itself it refuses as ever."""
    model = seeded(Chain)
    with gradflow.Recorder(model, every=1) as recorder:
        outputs = model(rows())
        with pytest.raises(RuntimeError, match="does not require grad"):
            torch.autograd.backward([outputs.mean(), torch.zeros(())])
        with pytest.raises(ProbeError, match=r"the loss of Chain must be one number, not \(5, 3\)"):
            torch.autograd.backward([outputs.mean(), outputs], [None, torch.ones_like(outputs)])
    with gradflow.Recorder(model, every=1) as recorder:
        edge = torch.autograd.graph.get_gradient_edge(model(rows()).mean())
        torch.autograd.backward(edge)
        with pytest.raises(ProbeError, match=r"no backward\(\) of a loss that depends on it was seen"):
            recorder.step()


@pytest.mark.parametrize("forwards", [1, 2, 3])
def test_several_forward_passes_in_one_backward_pass(forwards: int) -> None:
    """As with a siamese network: the first is measured, parameters' gradients are of all; a note says so."""
    batches = [rows() + number for number in range(forwards)]

    def loss(model: nn.Module) -> Tensor:
        return torch.stack([model(batch) for batch in batches]).sum(0).square().mean()

    plain, recorded = seeded(Chain), seeded(Chain)
    loss(plain).backward()
    with torch.no_grad():
        others = sum((plain(batch) for batch in batches[1:]), torch.zeros(5, 3))
    first = gradflow.probe(seeded(Chain), batches[0], loss=lambda outputs: (outputs + others).square().mean())
    with gradflow.Recorder(recorded, every=1) as recorder:
        recorded(rows() - 1)  # one that no backward pass goes through does not count
        loss(recorded).backward()
        recorder.step()
    units = recorder.record.units
    for column in ("x_norm", "branch_norm", "grad_in_norm", "grad_branch_norm"):
        assert units[column].tolist() == pytest.approx(first.units[column].tolist(), rel=1e-5)
    norms = [float(parameter.grad.norm()) for parameter in plain.parameters()]
    assert recorder.record.parameters["grad_norm"].tolist() == pytest.approx(norms, rel=1e-5)
    said = [note for note in recorder.record.meta["notes"] if "forward passes of Chain" in note]
    assert len(said) == (forwards > 1)
    assert all(
        f"{forwards} forward passes of Chain are in one backward pass; the first" in note for note in said
    )


def test_a_gradient_that_ends_where_none_is_known_to_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a function of torch's own to say that no gradient flows, the pass would end with one line."""
    monkeypatch.setattr("gradflow.probing.own_passes.is_plain", lambda *_: True)
    model = seeded(lambda: Chain(COMBINE["the branch's never comes"]))
    with (
        pytest.raises(ProbeError, match="a gradient in Chain ends inside a function of torch's own"),
        gradflow.Recorder(model, every=1),
    ):
        backward(model)
    assert torch._C._len_torch_function_stack() == 0
