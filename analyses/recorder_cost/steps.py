"""A training step of the same work in four ways: plain, recorded, and watched by two other tools."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

import gradflow
from gradflow.importing import import_dependency
from gradflow.recording import Recorder
from recorder_cost.work import Work

Step = Callable[[], object]

IDLE_CALLS = 10_000


def _step(work: Work) -> Callable[[], Tensor]:
    """Return a step of plain SGD; its rate is so small that the loss stays what it is."""
    optimizer = torch.optim.SGD(work.model.parameters(), lr=1e-6)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = work.loss(work.model(work.inputs))
        loss.backward()
        optimizer.step()
        return loss

    return step


@contextmanager
def plain(work: Work) -> Iterator[Step]:
    """Nothing is attached."""
    yield _step(work)


@contextmanager
def recorded(work: Work) -> Iterator[Step]:
    """Every step is measured by a `gradflow.Recorder`, its record's tables included."""
    step = _step(work)
    with Recorder(work.model, every=1) as recorder:

        def recorded_step() -> object:
            step()
            recorder.step()
            return recorder

        yield recorded_step


@contextmanager
def watched(work: Work) -> Iterator[Step]:
    """Every step's gradients are made histograms by `wandb.watch`, offline."""
    wandb = import_dependency("wandb", extra="wandb")
    step = _step(work)
    with tempfile.TemporaryDirectory() as folder:
        settings = wandb.Settings(silent=True)
        with wandb.init(mode="offline", dir=folder, project="benchmark", settings=settings) as run:
            run.watch(work.model, log="gradients", log_freq=1)

            def watched_step() -> object:
                run.log({"loss": step().item()})
                return run

            yield watched_step


@contextmanager
def traced(work: Work) -> Iterator[Step]:
    """Every step is traced by TorchLens, which then audits the gradients that it has kept."""
    torchlens = import_dependency("torchlens")
    audit = import_dependency("torchlens.debug").gradient_flow_audit
    # It leaves torch's functions wrapped unless told not to, and the plain steps beside it would pay for it.
    # It also stops where a step takes half of what memory is free just then, unless told to go on.
    how = import_dependency("torchlens.options").CaptureOptions(
        save_grads=True, backward_ready=True, unwrap_when_done=True, save_budget=None
    )
    optimizer = torch.optim.SGD(work.model.parameters(), lr=1e-6)

    def traced_step() -> object:
        optimizer.zero_grad()
        trace = torchlens.trace(work.model, work.inputs, capture=how)
        trace.log_backward(work.loss(trace[trace.output_layers[0]].out))
        optimizer.step()
        found = audit(trace)
        trace.cleanup()  # its cycles would hold all of the step's values until the collector comes by
        return found

    yield traced_step


WAYS: dict[str, Callable[[Work], AbstractContextManager[Step]]] = {
    "plain": plain,
    "recorder": recorded,
    "wandb": watched,
    "torchlens": traced,
}


def idle_microseconds(repeats: int) -> list[float]:
    """Return how long a call of `step()` takes when no measurement is due, several times, in µs."""
    model = gradflow.build_model("preact20", seed=0)
    times = []
    with Recorder(model, every=10**9, iteration=1) as recorder:
        for _ in range(repeats):
            began = time.perf_counter()
            for _ in range(IDLE_CALLS):
                recorder.step()
            times.append((time.perf_counter() - began) / IDLE_CALLS * 1e6)
    return times
