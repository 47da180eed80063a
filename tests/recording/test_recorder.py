"""`gradflow.Recorder` in training loops of a few steps."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from left_alone import Snapshot
from small_networks import (
    Chain,
    ConvolutionalChain,
    LinearBranches,
    Residual,
    branch,
    labels,
    noting,
    pictures,
    rows,
)
from small_networks import seeded as built
from torch import Tensor, nn
from torch._dynamo import eval_frame
from torch.nn import functional as F
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

import gradflow
from gradflow.errors import NoResidualUnitError, ProbeError, RecordError

Step = Callable[[], None]


def loop(
    model: nn.Module,
    steps: int,
    *,
    recorder: gradflow.Recorder | None = None,
    accumulate: int = 1,
    clearing: bool = True,
    each: Callable[[int], None] = lambda _: None,
) -> list[float]:
    """Train `model` on noise, and return the losses; images for convolutions, vectors for others.

    Args:
        model: trains.
        steps: how many.
        recorder: is told of each.
        accumulate: backward passes a step.
        clearing: whether gradients are set to None, or else to zero.
        each: is called at the end of each step with its number.
    """
    images = any(isinstance(module, nn.Conv2d) for module in model.modules())
    inputs, targets = (pictures(), labels(2)) if images else (rows(), labels())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for number in range(steps):
        optimizer.zero_grad(set_to_none=clearing)
        for part in range(accumulate):
            loss = F.cross_entropy(model(inputs + part), targets)
            loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        if recorder is not None:
            recorder.step()
        each(number)
    return losses


def state(model: nn.Module) -> dict[str, Any]:
    """Return weights, buffers, gradients, modes and random state as bytes."""
    found = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
    found |= {f"∂/∂{name}": value.grad.numpy().tobytes() for name, value in model.named_parameters()}
    found |= {f"mode of {name}": module.training for name, module in model.named_modules()}
    return found | {"random": torch.random.get_rng_state().numpy().tobytes()}


def attached(model: nn.Module) -> dict[str, int]:
    """Count everything that can be attached to a model, its parameters, torch's modules and torch."""
    found: dict[str, int] = {}
    for name, module in model.named_modules():
        for kind, hooks in vars(module).items():
            if "hooks" in kind and hasattr(hooks, "__len__"):
                found[f"{kind} of {name}"] = len(hooks)
    for name, parameter in model.named_parameters():
        found[f"hooks of {name}"] = len(parameter._backward_hooks or ())
        found[f"post-accumulation hooks of {name}"] = len(parameter._post_accumulate_grad_hooks or ())
    for kind, hooks in vars(torch_module).items():
        if kind.startswith("_global") and hasattr(hooks, "__len__"):
            found[kind] = len(hooks)
    found["function modes"] = torch._C._len_torch_function_stack()
    found["dispatch modes"] = torch._C._len_torch_dispatch_stack()
    found["compiled code runs eagerly"] = int(eval_frame._stance.stance != "default")
    found["saved-tensor hooks"] = int(torch._C._autograd._top_saved_tensors_default_hooks(True) is not None)
    return found


CASES: dict[str, Callable[[], nn.Module]] = {
    "vectors": Chain,
    "images": ConvolutionalChain,
    "in place": partial(ConvolutionalChain, lambda x, f: f(x).add_(x), inplace=True),
    "dropout": lambda: Chain(lambda x, f: x + F.dropout(f(x), 0.5)),
    "a gate on both": lambda: Chain(lambda x, f: torch.sigmoid(x) * x + (1 - torch.sigmoid(x)) * f(x)),
    "checkpointed": lambda: Chain(lambda x, f: x + checkpoint(f, x, use_reentrant=False)),
    "forks at the input": lambda: nn.Sequential(Residual(branch()), Residual(branch()), nn.Linear(4, 3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("clearing", [True, False], ids=["set to None", "set to zero"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_the_same_bit_for_bit(case: str, clearing: bool, accumulate: int) -> None:
    """Weights, buffers, gradients, modes, losses and random numbers are those of a loop without recorder."""
    outcomes = []
    for recording in (False, True):
        torch.manual_seed(0)
        model = CASES[case]()
        run = partial(loop, model, 5, accumulate=accumulate, clearing=clearing)
        if recording:
            with gradflow.Recorder(model, every=2) as recorder:
                losses = run(recorder=recorder)
            assert recorder.record.steps["iteration"].tolist() == [0, 2, 4]
        else:
            losses = run()
        outcomes.append((losses, state(model)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("case", [case for case in CASES if case != "dropout"])
@pytest.mark.parametrize("clearing", [True, False], ids=["set to None", "set to zero"])
def test_numbers_are_those_of_a_probe_of_the_same_weights(case: str, clearing: bool) -> None:
    """At each measured iteration: what `gradflow.probe` says before the step, and nothing of other steps."""
    model = built(CASES[case])
    images = case in {"images", "in place"}
    batch = (pictures(), labels(2)) if images else (rows(), labels())
    expected = [gradflow.probe(model, *batch)]
    with gradflow.Recorder(model, every=2) as recorder:
        run = partial(loop, model, recorder=recorder, clearing=clearing)
        run(4, each=lambda number: expected.append(gradflow.probe(model, *batch)) if number == 1 else None)
    for iteration, probed in zip((0, 2), expected, strict=True):
        for table in ("units", "parameters", "steps"):
            whole = getattr(recorder.record, table)
            found = whole[whole["iteration"] == iteration].reset_index(drop=True)
            probe = getattr(probed, table).assign(iteration=pd.array([iteration] * len(found), "Int64"))
            exact, close = _apart(found), _apart(probe)
            pd.testing.assert_frame_equal(exact[0], close[0])
            # additivity errors are rounding, and the probe may add the parts another way
            assert (found.get("additivity_error", pd.Series([0.0])) < 1e-6).all()
            np.testing.assert_allclose(exact[1], close[1], rtol=2e-5, atol=1e-7)


def _apart(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the columns that are words or counts, and the numbers."""
    numbers = [name for name in frame if frame[name].dtype == np.float64 and name != "additivity_error"]
    words = [name for name in frame if frame[name].dtype != np.float64]
    return frame[words], frame[numbers].to_numpy(float)


def test_accumulated_gradients_are_measured_pass_by_pass() -> None:
    """The first backward pass of a step is measured alone, also on top of gradients that are there."""
    model = built(Chain)
    expected = gradflow.probe(model, rows(), labels())
    F.cross_entropy(model(rows() + 7), labels()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    with gradflow.Recorder(model, every=1) as recorder:
        F.cross_entropy(model(rows()), labels()).backward()
        F.cross_entropy(model(rows() + 1), labels()).backward()
        recorder.step()
    assert recorder.record.parameters["grad_norm"].tolist() == pytest.approx(
        expected.parameters["grad_norm"].tolist(), rel=1e-5
    )
    assert float(recorder.record.steps["loss"].iloc[0]) == pytest.approx(expected.meta["loss"]["value"])


def test_nothing_is_attached_between_measured_steps() -> None:
    """No hook, no mode: not on the model, its parts or parameters, nor on torch; at a due step there is."""
    model = built(ConvolutionalChain)
    before = attached(model)
    counts: dict[int, dict[str, int]] = {}
    with gradflow.Recorder(model, every=4) as recorder:
        due = attached(model)
        loop(model, 10, recorder=recorder, each=lambda number: counts.update({number + 1: attached(model)}))
    assert {iteration for iteration, count in counts.items() if count != before} == {4, 8}
    assert due != before  # the count sees what is there when a step is due
    assert due["function modes"] == before["function modes"] + 1
    assert attached(model) == before


def test_an_idle_step_runs_no_code_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between measured steps `step()` calls no other Python function, and builds nothing."""
    called: list[str] = []
    with gradflow.Recorder(built(Chain), every=3) as recorder:
        loop(recorder._model, 1, recorder=recorder)
        sys.setprofile(lambda frame, event, _: called.append(f"{event} {frame.f_code.co_name}"))
        try:
            recorder.step()
        finally:
            sys.setprofile(None)
    steps = [what for what in called if not what.startswith("c_")]
    assert [what for what in steps if what.startswith("call")] == ["call step"]


def live() -> tuple[int, int]:
    """Count the tensors and the autograd nodes that are alive."""
    gc.collect()
    objects = gc.get_objects()
    tensors = sum(issubclass(type(value), Tensor) for value in objects)
    nodes = sum(issubclass(type(value), torch.autograd.graph.Node) for value in objects)
    return tensors, nodes


def test_nothing_outlives_a_measurement_over_200_steps() -> None:
    """Tensors, graphs and hooks are as many after 200 steps as after 10, and each step's values are gone."""
    kept: list[weakref.ref[Tensor]] = []

    model = built(lambda: Chain(noting(kept)))
    counts: dict[int, tuple[Any, ...]] = {}

    def count(number: int) -> None:
        if number in {10, 100, 196}:  # none is due after these
            counts[number] = (*live(), attached(model), sum(value() is not None for value in kept))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with gradflow.Recorder(model, every=5) as recorder:
        for number in range(200):
            optimizer.zero_grad()
            F.cross_entropy(model(rows()), labels()).backward()
            optimizer.step()
            recorder.step()
            count(number)
    assert len(recorder.record.steps) == 40
    assert len(kept) == 600
    assert counts[10] == counts[100] == counts[196]
    assert counts[10][-1] == 0
    held = model(rows())  # the count would see a graph that is held
    assert live()[0] > counts[196][0]
    assert held.grad_fn is not None


def test_model_and_process_are_left_alone() -> None:
    """A measured step without an optimiser changes gradients and nothing else."""
    model = built(Chain).eval()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = Snapshot(model)
    with gradflow.Recorder(model, every=1) as recorder:
        F.cross_entropy(model(rows()), labels()).backward()
        recorder.step()
    model.zero_grad(set_to_none=False)
    before.assert_unchanged()
    assert recorder.record.meta["bn"] == "running"


def test_record_is_saved_and_reported(tmp_path: Path) -> None:
    """`out` gets the whole record when the context closes; batches may differ in size."""
    model = built(Chain)
    with gradflow.Recorder(model, every=1, out=tmp_path / "run", iteration=3) as recorder:
        for size in (5, 5, 2):
            F.cross_entropy(model(rows(size)), labels(size)).backward()
            recorder.step()
            recorder.save()
    record = gradflow.load_record(tmp_path / "run")
    assert record.steps["iteration"].tolist() == [3, 4, 5]
    assert record.units.groupby("iteration")["batch"].first().tolist() == [5, 5, 2]
    assert record.meta["batch_size"] == 2
    assert record.meta["checkpoint"] == {"name": "in training", "sha256": None, "iteration": 5}
    assert "batches had 2 to 5 samples; the units' rows say which" in record.meta["notes"]
    from gradflow.report import write_report

    page = write_report([tmp_path / "run"], tmp_path / "page")
    assert "Chain" in page.read_text(encoding="utf-8")


def test_record_is_saved_when_the_loop_fails(tmp_path: Path) -> None:
    """What was measured before an exception is there; the exception comes through."""
    model = built(Chain)
    before = attached(model)

    def fail(number: int) -> None:
        if number == 2:
            raise ZeroDivisionError("in the middle of a run")

    with (
        pytest.raises(ZeroDivisionError, match="in the middle of a run"),
        gradflow.Recorder(model, every=1, out=tmp_path / "run") as recorder,
    ):
        loop(model, 9, recorder=recorder, each=fail)
    assert gradflow.load_record(tmp_path / "run").steps["iteration"].tolist() == [0, 1, 2]
    assert attached(model) == before


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_a_model_that_raises(backward: bool) -> None:
    """Its exception comes through as it is; a loop that goes on is measured at the same iteration."""

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(_, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(_, *_gradients: Tensor) -> Tensor:
            raise ZeroDivisionError("in the middle")

    class Trap(nn.Module):
        armed = True

        def forward(self, x: Tensor) -> Tensor:
            if self.armed and not backward:
                raise ZeroDivisionError("in the middle")
            return Fails.apply(x) if self.armed else x

    trap = Trap()
    model = built(Chain)
    model.branches[1].append(trap)
    before = attached(model)
    with gradflow.Recorder(model, every=2) as recorder:
        with pytest.raises(ZeroDivisionError, match="in the middle"):
            F.cross_entropy(model(rows()), labels()).backward()
        hooks = attached(model)
        assert hooks["function modes"] == before["function modes"] + 1  # the tracer's is gone
        trap.armed = False
        if backward:  # the pass that was to be measured is over
            with pytest.raises(ProbeError, match="iteration 0 was to be measured, and Chain did not run"):
                recorder.step()
        else:
            F.cross_entropy(model(rows()), labels()).backward()
            recorder.step()
            assert recorder.record.steps["iteration"].tolist() == [0]
        assert attached(model) == before
    assert attached(model) == before


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_refusals(tmp_path: Path) -> None:
    """What cannot be measured is refused in one line, when it can be known and never in silence."""
    model = built(Chain)
    recorder = gradflow.Recorder(model, every=1)
    with pytest.raises(ProbeError, match="belongs inside `with recorder:`"):
        recorder.step()
    with pytest.raises(ProbeError, match="nothing has been measured yet"):
        _ = recorder.record
    with recorder:
        with pytest.raises(ProbeError, match="this recorder was entered before"):
            recorder.__enter__()
        with (
            pytest.raises(ProbeError, match="this Chain is being recorded already"),
            gradflow.Recorder(model),
        ):
            pass
    with pytest.raises(ProbeError, match="this recorder was entered before"), recorder:
        pass
    with pytest.raises(ProbeError, match=r"one torch.nn.Module, not list; make a recorder for each"):
        gradflow.Recorder([model, model])
    with pytest.raises(ProbeError, match=r"DataParallel, which runs copies .*DistributedDataParallel"):
        gradflow.Recorder(nn.DataParallel(model))
    with pytest.raises(ProbeError, match=r"'0' is TorchScript, which cannot be measured"):
        gradflow.Recorder(nn.Sequential(torch.jit.trace(model, rows())))
    for every in (0, -1, 2.5, True):
        with pytest.raises(ProbeError, match="every must be a whole number of at least 1"):
            gradflow.Recorder(model, every=every)
    with pytest.raises(ProbeError, match="is not a regular expression"):
        gradflow.Recorder(model, units="(")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    with pytest.raises(RecordError, match="exists and was kept"):
        gradflow.Recorder(model, out=tmp_path / "kept")
    with pytest.raises(RecordError, match="holds 'file', which is no part of a record"):
        gradflow.Recorder(model, out=tmp_path / "kept", force=True)


def test_a_loop_that_trains_another_model() -> None:
    """A measured step in which the model does not run, or not towards the loss, is an error of that step."""
    model, other = built(Chain), built(Chain, seed=1)
    before = attached(model)
    recorder = gradflow.Recorder(model, every=1)
    with recorder, pytest.raises(ProbeError, match="iteration 0 was to be measured, and Chain did not run"):
        loop(other, 1, recorder=recorder)
    with gradflow.Recorder(model, every=1) as recorder:
        model(rows())
        with pytest.raises(ProbeError, match=r"Chain ran, but no backward\(\) of a loss that depends on it"):
            loop(other, 1, recorder=recorder)
    assert attached(model) == before
    assert recorder.iteration == 1


def test_a_step_without_backward_pass_that_is_meant() -> None:
    """What is said to be skipped is no error: the next step is measured instead, and a note says so."""
    model = built(Chain)
    before = attached(model)
    with gradflow.Recorder(model, every=3) as recorder:
        recorder.step(skipped="the loss was not finite")
        assert attached(model) != before  # it waits for the next one
        recorder.step(skipped="the batch was empty")
        loop(model, 1, recorder=recorder)
        assert attached(model) != before  # iteration 3 is due by itself
        F.cross_entropy(model(rows()), labels()).backward()
        recorder.step(skipped="for nothing: there was a pass")
        assert attached(model) == before
    assert recorder.record.steps["iteration"].tolist() == [2, 3]
    said = [note for note in recorder.record.meta["notes"] if "was to be measured" in note]
    assert said == [
        (
            "iteration 0 was to be measured and was not: the loss was not finite; "
            "iteration 2 was, as the first after it that could be"
        )
    ]
    with gradflow.Recorder(model, every=1) as recorder:
        loop(model, 1, recorder=recorder)
        recorder.step(skipped="the batch was empty")
        with pytest.raises(ProbeError, match="iteration 2 was to be measured, and Chain did not run"):
            recorder.step()
    assert recorder.record.meta["notes"][-1] == (
        "iteration 1 was to be measured and was not: the batch was empty; no later one was"
    )
    with (
        pytest.warns(
            UserWarning, match="measured nothing of Chain: in iteration 0 and those after it nobody"
        ),
        gradflow.Recorder(model) as recorder,
    ):
        recorder.step(skipped="nobody trained")


def test_a_network_and_a_part_of_it_are_refused() -> None:
    """Two recorders of which one would trace the other's network: refused on entry, and the first goes on."""
    whole = nn.Sequential(built(Chain), nn.Linear(3, 3))
    with gradflow.Recorder(whole, every=1) as recorder:
        with (
            pytest.raises(
                ProbeError, match=r"the Chain '0' is a part of a Sequential that is being recorded"
            ),
            gradflow.Recorder(whole[0]),
        ):
            pass
        F.cross_entropy(whole(rows()), labels()).backward()
        recorder.step()
    assert len(recorder.record.units) == 3
    with (
        gradflow.Recorder(whole[0].branches[1]),
        pytest.raises(
            ProbeError, match=r"the Sequential '0.branches.1' in this Sequential is being recorded"
        ),
        gradflow.Recorder(whole),
    ):
        pass
    parts = nn.Sequential(built(Chain), nn.Sequential(nn.Linear(3, 4), built(Chain, seed=1)))
    with gradflow.Recorder(parts[0], every=1) as first, gradflow.Recorder(parts[1], every=1) as second:
        F.cross_entropy(
            parts(rows()), labels()
        ).backward()  # two parts that are apart are measured in one pass
        for one in (first, second):
            one.step()
    expected = gradflow.probe(parts, rows(), labels()).units["grad_in_norm"].tolist()
    found = [norm for one in (first, second) for norm in one.record.units["grad_in_norm"]]
    assert found == pytest.approx(expected, rel=1e-6)


def test_no_unit_and_no_gradient() -> None:
    """A network without unit, and a loss without gradient, are refused at the first measured step."""
    plain = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    before = attached(plain)
    with (
        pytest.raises(NoResidualUnitError, match="Sequential has no residual unit"),
        gradflow.Recorder(plain, every=1),
    ):
        plain(rows())
    assert attached(plain) == before
    model = built(Chain)
    with (
        pytest.raises(ProbeError, match="no gradient flows from the loss of Chain"),
        gradflow.Recorder(model, every=1),
    ):
        F.cross_entropy(model(rows()), labels()).detach().backward()
    assert attached(model) == attached(built(Chain))


def test_named_blocks_of_a_plain_network() -> None:
    """`units` names the blocks outright, as it does for the probe."""
    plain = built(lambda: nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)))
    expected = gradflow.probe(plain, rows(), labels(), units="1")
    with gradflow.Recorder(plain, every=1, units="1") as recorder:
        loop(plain, 1, recorder=recorder)
    assert recorder.record.units["grad_in_norm"].tolist() == pytest.approx(
        expected.units["grad_in_norm"].tolist(), rel=1e-6
    )


def test_two_networks_at_once() -> None:
    """Two recorders on two models in one loop each measure their own, whichever is told of a step first."""
    models = built(Chain), built(Chain, seed=1)
    expected = [gradflow.probe(model, rows(), labels()) for model in models]
    with gradflow.Recorder(models[0], every=2) as first, gradflow.Recorder(models[1], every=2) as second:
        for model in models:
            F.cross_entropy(model(rows()), labels()).backward()
        first.step()
        assert eval_frame._stance.stance == "force_eager"  # the second is still to be measured
        second.step()
    assert torch._C._len_torch_function_stack() == 0
    assert eval_frame._stance.stance == "default"
    for recorder, probed in zip((first, second), expected, strict=True):
        assert recorder.record.units["grad_in_norm"].tolist() == pytest.approx(
            probed.units["grad_in_norm"].tolist(), rel=1e-6
        )


def test_function_modes_of_the_user_are_kept_in_order() -> None:
    """A recorder that stops watching under other modes takes only its own away."""

    class Mine(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    model = built(Chain)
    with gradflow.Recorder(model, every=2) as recorder:
        outer, inner = Mine(), Mine()
        with outer, inner:
            F.cross_entropy(model(rows()), labels()).backward()
            recorder.step()
            assert torch.overrides._get_current_function_mode_stack() == [outer, inner]
    assert torch._C._len_torch_function_stack() == 0


def test_evaluation_in_a_measured_step_is_not_measured() -> None:
    """Forward passes without gradients, and those whose loss nobody differentiates, are passed by."""
    model = built(Chain)
    expected = gradflow.probe(model, rows(), labels())
    with gradflow.Recorder(model, every=1) as recorder:
        with torch.no_grad():
            model(rows() + 1)
        model(rows() + 2)
        F.cross_entropy(model(rows()), labels()).backward()
        recorder.step()
    assert recorder.record.units["x_norm"].tolist() == pytest.approx(
        expected.units["x_norm"].tolist(), rel=1e-6
    )


def test_an_input_that_needs_a_gradient_gets_it() -> None:
    """An input of the user's own that needs a gradient gets the one that it would have got."""
    gradients = []
    for recording in (False, True):
        model = LinearBranches(*torch.eye(4).expand(3, 4, 4).mul(0.1))
        x = rows().requires_grad_()
        if recording:
            with gradflow.Recorder(model, every=1) as recorder:
                model(x).square().sum().backward()
                recorder.step()
        else:
            model(x).square().sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_loss_scale_is_divided_out() -> None:
    """With a GradScaler numbers are those of the loss; a step that it skips is noted."""
    plain, scaled = built(Chain), built(Chain)
    with gradflow.Recorder(plain, every=1) as expected:
        loop(plain, 1, recorder=expected)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(scaled.parameters(), lr=0.05)
    with gradflow.Recorder(scaled, every=1, scaler=scaler) as recorder:
        for factor in (1.0, float("inf")):
            optimizer.zero_grad()
            loss = F.cross_entropy(scaled(rows()), labels())
            scaler.scale(loss * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            recorder.step()
    first = recorder.record.units["iteration"] == 0
    for column in ("grad_in_norm", "grad_branch_norm", "param_grad_norm", "backward_cosine", "x_norm"):
        assert recorder.record.units.loc[first, column].tolist() == pytest.approx(
            expected.record.units[column].tolist(), rel=1e-5
        )
    assert float(recorder.record.steps["loss"].iloc[0]) == pytest.approx(
        float(expected.record.steps["loss"].iloc[0])
    )
    assert [note for note in recorder.record.meta["notes"] if "skips this step" in note] == [
        "at iteration 1 the scaled gradient was not finite: the scaler skips this step"
    ]
    assert scaler.get_scale() == 512.0  # it did skip that step


def test_loggers_are_told_of_each_measurement_and_closed() -> None:
    """Each logger gets iteration and record of each measured step, in order, and is closed in the end."""

    class Kept:
        told: list[Any]

        def __init__(self) -> None:
            self.told = []

        def measured(self, iteration: int, record: gradflow.Record) -> None:
            self.told.append((iteration, len(record.units)))

        def close(self) -> None:
            self.told.append("closed")

    logger, model = Kept(), built(Chain)
    with gradflow.Recorder(model, every=2, loggers=[logger]) as recorder:
        loop(model, 5, recorder=recorder)
    assert logger.told == [(0, 3), (2, 3), (4, 3), "closed"]
