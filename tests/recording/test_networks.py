"""A recorder on the networks of the table, and under what changes how a network runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cases
import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import Chain, ConvolutionalChain, labels, pictures, rows, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import gradflow
from gradflow.errors import ProbeError
from gradflow.probing.loss import evaluate_loss
from gradflow.units.calling import call_model, map_tensors


def train(
    model: nn.Module, loss: Callable[[], Tensor], *, recording: bool
) -> tuple[dict[str, bytes], gradflow.Record | None]:
    """Make two steps with clipped gradients from one random state, and return weights and record."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    torch.manual_seed(3)
    recorder = gradflow.Recorder(model, every=1) if recording else None
    if recorder is not None:
        recorder.__enter__()
    try:
        for _ in range(2):
            optimizer.zero_grad()
            loss().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            if recorder is not None:
                recorder.step()
    finally:
        if recorder is not None:
            recorder.__exit__(None, None, None)
    state = {
        name: value.contiguous().view(-1).numpy().tobytes() for name, value in model.state_dict().items()
    }
    state["random"] = torch.random.get_rng_state().numpy().tobytes()
    return state, None if recorder is None else recorder.record


def widened(value: Tensor) -> Tensor:
    """Return numbers in float64, indices as they are."""
    return value.double() if value.is_floating_point() else value


@cases.each(cases.SMALL)
def test_real_networks_train_the_same_and_are_measured_as_by_the_probe(case: cases.Case) -> None:
    """Weights and random numbers bit for bit; in float64 the probe's numbers, before clipping."""
    inputs, targets = map_tensors(case.inputs(), widened), case.targets()
    plain, recorded = case.build().double(), case.build().double()
    torch.manual_seed(3)
    probed = gradflow.probe(recorded, inputs, targets)

    def loss(model: nn.Module) -> Tensor:
        return evaluate_loss(call_model(model, inputs), targets, None)

    expected, _ = train(plain, partial(loss, plain), recording=False)
    state, record = train(recorded, partial(loss, recorded), recording=True)
    assert state == expected
    assert record is not None
    first = record.units[record.units["iteration"] == 0].reset_index(drop=True)
    assert [(row.stage, row.shortcut, row.post_activation) for row in first.itertuples()] == case.kinds
    for column in first.columns.drop("additivity_error"):  # rounding, and the probe adds in another way
        found, sought = first[column], probed.units[column]
        if found.dtype == np.float64:
            np.testing.assert_allclose(found, sought, rtol=1e-9, atol=1e-12, err_msg=str(column))
        else:
            pd.testing.assert_series_equal(found, sought)
    assert record.meta["samples_coupled"] == probed.meta["samples_coupled"]


def _autocast(model: nn.Module, *batch: Any) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(model(batch[0]), batch[1])

    return loss


def _channels_last(model: nn.Module, *batch: Any) -> Callable[[], Tensor]:
    model.to(memory_format=torch.channels_last)
    images = batch[0].to(memory_format=torch.channels_last)
    return lambda: F.cross_entropy(model(images), batch[1])


def _with_penalty(model: nn.Module, *batch: Any) -> Callable[[], Tensor]:
    # A gradient penalty runs a backward pass of its own, inside the loss.
    def loss() -> Tensor:
        value = F.cross_entropy(model(batch[0]), batch[1])
        gradients = torch.autograd.grad(value, list(model.parameters()), create_graph=True)
        return value + sum(gradient.square().sum() for gradient in gradients)

    return loss


WAYS = {"autocast": _autocast, "channels last": _channels_last, "gradient penalty": _with_penalty}


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_running_train_the_same(way: str) -> None:
    """Autocast, channels-last and a loss with gradients in it: the same training, with finite numbers."""
    states = []
    for recording in (False, True):
        model = seeded(lambda: ConvolutionalChain(units=2))
        state, record = train(model, WAYS[way](model, pictures(), labels(2)), recording=recording)
        states.append(state)
    assert states[0] == states[1]
    assert record is not None
    assert np.isfinite(record.units[["x_norm", "grad_in_norm", "grad_branch_norm"]].to_numpy(float)).all()
    assert record.units["nonfinite"].sum() == 0


def test_reentrant_checkpointing_is_refused_by_name() -> None:
    """It hides its units: an error in the forward pass, and the model trains on without a recorder."""
    model = Chain(lambda x, f: checkpoint(lambda y: y + f(y), x, use_reentrant=True) * 1.0)
    with (
        pytest.raises(ProbeError, match=r"call torch.utils.checkpoint.checkpoint with use_reentrant=False"),
        gradflow.Recorder(model, every=1),
    ):
        model(rows())
    assert torch._C._len_torch_function_stack() == 0
    F.cross_entropy(model(rows()), labels()).backward()


def _compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")


def _compiled_in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def _compiled_in_parts(model: nn.Module) -> nn.Module:
    model.branches[1] = torch.compile(model.branches[1], backend="eager")
    model.branches[2].compile(backend="eager")
    return model


# torch asks its own tensors for what they have not while it compiles a part of a network.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("compiled", [_compiled, _compiled_in_place, _compiled_in_parts])
@pytest.mark.parametrize("given", ["compiled", "eager"])
def test_compiled_networks_run_uncompiled_in_measured_steps_only(
    compiled: Callable[[nn.Module], nn.Module], given: str
) -> None:
    """The eager module beneath is measured, also if it ran compiled before; other steps run compiled."""
    ran: list[bool] = []

    def combine(x: Tensor, f: nn.Module) -> Tensor:
        ran.append(torch.compiler.is_compiling())
        return x + f(x)

    expected = gradflow.probe(seeded(Chain), rows(), labels())
    network = seeded(lambda: Chain(combine))
    model = compiled(network)
    recorder = gradflow.Recorder(model if given == "compiled" else network, every=2, iteration=1)
    with recorder:
        for step in range(2):
            if step == 1:
                ran.clear()  # it was traced before, and is not run by Python again
            F.cross_entropy(model(rows()), labels()).backward()
            model.zero_grad()
            recorder.step()
        assert ran == [False] * 3
    assert recorder.record.steps["iteration"].tolist() == [2]
    assert recorder.record.units["grad_in_norm"].tolist() == pytest.approx(
        expected.units["grad_in_norm"].tolist(), rel=1e-6
    )


def test_transforms_of_torch_func_are_refused() -> None:
    """`torch.func.grad` calls no backward; a functional call on other parameters has none of the model's."""
    model = seeded(Chain)
    parameters = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, parameters, (rows(),)), labels())

    expected = torch.func.grad(loss)(parameters)
    with gradflow.Recorder(model, every=2) as recorder:
        with pytest.raises(ProbeError, match=r"Chain runs inside a transform of torch.func"):
            torch.func.grad(loss)(parameters)
        with pytest.raises(ProbeError, match=r"not its own \(torch.func.functional_call\)"):
            loss(parameters)
        loss(dict(model.named_parameters())).backward()  # its own are its own, whoever calls
        recorder.step()
        found = torch.func.grad(loss)(parameters)  # between measured steps it is nobody's business
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert len(recorder.record.units) == 3


@pytest.mark.parametrize("scaled", [False, True], ids=["without a scaler", "with a scaler"])
def test_half_precision(scaled: bool) -> None:
    """Under autocast in float16 numbers are near those of float32, whatever the loss is multiplied by."""
    expected = gradflow.probe(seeded(Chain), rows(), labels())
    model = seeded(Chain)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, enabled=scaled)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.Recorder(model, every=1, scaler=scaler) as recorder:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(rows()), labels())
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        scaler.step(optimizer)
        scaler.update()
        recorder.step()
    for column in ("x_norm", "grad_in_norm", "grad_branch_norm", "param_grad_norm"):
        assert recorder.record.units[column].tolist() == pytest.approx(
            expected.units[column].tolist(), rel=2e-2
        )
    assert any("before they were clipped or applied" in note for note in recorder.record.meta["notes"])


def test_half_precision_that_overflows() -> None:
    """Gradients that leave float16 are counted where they do; the step that the scaler skips is marked."""
    model = seeded(Chain)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.Recorder(model, every=1, scaler=scaler) as recorder:
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(rows()), labels())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        recorder.step()
    record = recorder.record
    assert (record.units["nonfinite"] > 0).all()
    assert record.units["grad_in_norm"].isna().all()
    assert np.isfinite(record.units["x_norm"]).all()
    assert record.steps["param_grad_norm"].isna().all()
    assert any("iteration 0 the scaled gradient was not finite" in note for note in record.meta["notes"])
    assert all(map(torch.equal, before, model.parameters()))  # it was skipped


def test_a_loss_that_is_no_number_is_refused() -> None:
    """A loss of several numbers is said to be that; between measured steps it is nobody's business."""
    model = Chain()
    with gradflow.Recorder(model, every=2, iteration=1) as recorder:
        loss = F.cross_entropy(model(rows()), labels(), reduction="none")
        loss.backward(torch.ones_like(loss))
        recorder.step()
        loss = F.cross_entropy(model(rows()), labels(), reduction="none")
        with pytest.raises(ProbeError, match=r"the loss of Chain must be one number, not \(5,\)"):
            loss.backward(torch.ones_like(loss))


def test_autograd_backward_is_seen_too() -> None:
    """`torch.autograd.backward` is what `Tensor.backward` calls, and may be called outright."""
    expected = gradflow.probe(seeded(Chain), rows(), labels())
    model = seeded(Chain)
    with gradflow.Recorder(model, every=1) as recorder:
        torch.autograd.backward(F.cross_entropy(model(rows()), labels()))
        recorder.step()
    assert recorder.record.units["grad_in_norm"].tolist() == pytest.approx(
        expected.units["grad_in_norm"].tolist(), rel=1e-6
    )
