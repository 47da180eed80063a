"""`train`: from a network, data and a plan to a run in its directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from gradflow.determinism import seeded, set_random_state
from gradflow.errors import TrainingError
from gradflow.training.checkpoints import read_newest, require_same_run
from gradflow.training.directory import locked
from gradflow.training.history import History, read_history, require_no_record, require_run
from gradflow.training.images import Batches, ImageTensors, fit_normalisation
from gradflow.training.job import Job
from gradflow.training.loop import Training
from gradflow.training.plan import Locate, OnStep, Outcome, Plan, Watcher
from gradflow.training.steps import Steps

ONE_PROCESS = Job(0, 1, torch.device("cpu"))


def train(
    model: nn.Module,
    train_images: ImageTensors,
    test_images: ImageTensors,
    plan: Plan,
    out: Path,
    *,
    job: Job = ONE_PROCESS,
    resume: bool = False,
    on_step: OnStep | None = None,
    locate: Locate | None = None,
    watchers: Callable[[int], Sequence[Watcher]] = lambda _: (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train `model` by a plan, with record and checkpoints in the directory `out`.

    On a CPU the same arguments give the same bits, however often the run is interrupted and
    resumed, and whatever `on_step` measures.

    Args:
        model: returns logits (batch, classes); is trained in place.
        train_images: on the job's device.
        test_images: likewise, of the same shape and classes.
        plan: recipe, seed and cadences.
        out: the run's directory; nothing else may train there at the same time.
        job: this process's place among those that train together.
        resume: go on from the newest checkpoint in `out`, which must be there.
        on_step: measures; without it there is no record, for its metadata come from a measurement.
        locate: names the place where numbers stop being finite.
        watchers: called with the steps done, returns whom to tell how the run goes.
        should_stop: is asked after every step; if it says so, the run ends with a checkpoint.

    Raises:
        TrainingError: if the run cannot be started or resumed, or diverges; what was saved is kept.
        RecordError: if `out` cannot be written.
    """
    _require_fitting(train_images, test_images)
    if resume and job.is_first:
        require_run(out)
    normalisation = fit_normalisation(plan.recipe.normalisation, train_images)
    recipe = plan.recipe
    data = Batches(train_images, normalisation, recipe.batch_size, plan.seed, recipe.padding, recipe.flip)
    test = Batches(test_images, normalisation, recipe.batch_size, plan.seed, padding=0, flip=False)
    # Processes draw different numbers, for dropout for instance.
    own_seed = plan.seed + 1_000_003 * job.rank
    with locked(out) if job.is_first else nullcontext(), seeded(own_seed):
        steps = Steps(model, data, plan, job)
        state = read_newest(out) if job.is_first else None
        if state is not None and not resume:
            raise TrainingError(
                f"'{out}' holds a run already; continue it with --resume, or choose another --out"
            )
        if state is None and job.is_first:
            require_no_record(out)
        state = job.from_first(state)
        iteration = 0 if state is None else int(state["iteration"])
        history = History(plan.seed)
        if state is not None:
            require_same_run(state, plan.identity(job.size), out)
            if job.is_first:
                history = read_history(out, plan.seed, iteration, recorded=state.get("recorded", False))
        training = Training(
            steps,
            test,
            plan,
            out,
            history,
            on_step,
            locate,
            watchers(iteration) if job.is_first else (),
        )
        if state is not None:
            training.resume(state)
            set_random_state(state["random"][job.rank])
        return training.run(iteration, should_stop)


def _require_fitting(train_images: ImageTensors, test_images: ImageTensors) -> None:
    if (train_images.shape, train_images.classes) != (test_images.shape, test_images.classes):
        raise TrainingError(
            f"training images are {train_images.shape} of {train_images.classes} classes, test images "
            f"{test_images.shape} of {test_images.classes}; expected the same"
        )
