"""From the options of `train` to a run: data, network, recipe, directory, and what is told on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradflow.cli.alongside import Measuring, locate_divergence
from gradflow.cli.destinations import RUNS, next_free_run, require_writable
from gradflow.cli.failures import UNUSABLE
from gradflow.cli.measuring import blaming
from gradflow.cli.preparing import find_device
from gradflow.cli.progress import told
from gradflow.cli.stopping import Stop, stoppable
from gradflow.cli.subject import DEFAULT_INPUT_SHAPE, model_options
from gradflow.cli.training_request import TrainingRequest
from gradflow.data import DataSource, Split, open_data
from gradflow.errors import DataError, DivergedError, RecordError
from gradflow.models import build_model
from gradflow.record import mask_paths
from gradflow.training import (
    Batches,
    Job,
    Plan,
    find_recipe,
    fit_normalisation,
    joined,
    read_images,
    resolve,
    train,
)
from gradflow.training.directory import LOCK, locked
from gradflow.training.history import left_before_checkpoint, require_run

if TYPE_CHECKING:
    from gradflow.training import ImageTensors, Outcome, Watcher

EVENTS = "events"


@dataclass(frozen=True)
class Ending:
    """How the run of this process's job ended, for the last line.

    Attributes:
        out: the run's directory.
        iteration: steps done.
        finished: whether they are all.
        on_time: whether it was the limit on time that ended it.
        test_error: of the last test.
        best_error: of the best.
    """

    out: Path
    iteration: int
    finished: bool
    on_time: bool
    test_error: float
    best_error: float


def run_training(request: TrainingRequest, words: Sequence[str]) -> Ending | None:
    """Train as asked; return how it ended, in process 0 of the job.

    Raises:
        DivergedError: in process 0, if loss or gradient stop being finite.
        SystemExit: then in the others, which have nothing to add.
    """
    device = find_device(request.device)
    with stoppable(request.stop_after) as stop, blaming(f"training {request.spec}"), joined(device) as job:
        if job.is_first:  # of several that try the lock at once, one would find it taken
            _check_destination(request)
        try:
            outcome = _train(request, words, job, stop)
        except DivergedError as error:
            if job.is_first:
                raise
            raise SystemExit(UNUSABLE) from error  # process 0 says it for all
        if not job.is_first:
            return None
        return Ending(
            outcome.out,
            outcome.iteration,
            outcome.finished,
            on_time=not stop.asked,
            test_error=outcome.test_error if outcome.test_error is not None else float("nan"),
            best_error=outcome.best_error if outcome.best_error is not None else float("nan"),
        )


def _train(request: TrainingRequest, words: Sequence[str], job: Job, stop: Stop) -> Outcome:
    recipe_named = find_recipe(request.recipe)
    with (
        job.first_before_others()
    ):  # of several that download at once, each would write into the others' files
        source, test_source = _open(request, "train"), _open(request, "test")
    classes = len(source.classes or ())
    options = {"num_classes": classes, **model_options(request)}
    source.check_classes(options["num_classes"])
    model = build_model(request.spec, seed=request.seed, **options)
    images, test_images = read_images(source, job.device), read_images(test_source, job.device)
    recipe = resolve(
        recipe_named, len(images), iterations=request.iterations, epochs=request.epochs, **request.overrides
    )
    if request.probe_batch_size > len(images):
        raise DataError(
            f"--probe-batch-size {request.probe_batch_size} is larger than the training data, which has "
            f"{len(images)} images"
        )
    plan = Plan(
        recipe,
        seed=request.seed,
        test_every=request.test_every,
        checkpoint_every=request.checkpoint_every,
        details=_details(request, source, options, images),
    )
    with (
        _directory(request, job) as out,
        told(request.spec, quiet=request.quiet or not job.is_first) as telling,
    ):

        def watchers(iteration: int) -> Sequence[Watcher]:
            # Brings the libraries that draw, for which processes that do not write need not wait.
            from gradflow.integrations.tensorboard import TensorBoard

            return [*telling, TensorBoard(out / EVENTS, iteration)]

        return train(
            model,
            images,
            test_images,
            plan,
            out,
            job=job,
            resume=request.resume,
            on_step=_measuring(request, words, plan, images, source, options),
            locate=partial(locate_divergence, units=request.units),
            watchers=watchers,
            should_stop=stop,
        )


def _open(request: TrainingRequest, split: Split) -> DataSource:
    return open_data(
        request.data,
        split=split,
        batch_size=1,
        seed=request.seed,
        input_shape=request.input_shape or DEFAULT_INPUT_SHAPE,
        num_classes=request.num_classes,
        download=request.download,
        name=request.data_name,
    )


def _details(
    request: TrainingRequest, source: DataSource, options: dict[str, Any], images: ImageTensors
) -> dict[str, Any]:
    """Return what must be the same on resume, beside the recipe."""
    return {
        "model": request.spec,
        **{name.replace("_", "-"): str(value) for name, value in options.items()},
        "data": source.name,
        "images": len(images),
        "images-digest": images.digest,
        "probe-every": request.probe_every,
        "check-every": request.check_every,
        "probe-batch-size": request.probe_batch_size,
        "units": request.units,
    }


def _measuring(
    request: TrainingRequest,
    words: Sequence[str],
    plan: Plan,
    images: ImageTensors,
    source: DataSource,
    options: dict[str, Any],
) -> Measuring:
    """Return what probes and checks: the first images of the run's own order."""
    normalisation = fit_normalisation(plan.recipe.normalisation, images)
    fixed = Batches(images, normalisation, request.probe_batch_size, request.seed, padding=0, flip=False)
    inputs, targets = fixed.at(1)
    meta = {
        "command": mask_paths(["gradflow", *words]) if words else None,
        "model": {
            "name": request.spec,
            "options": {k: v for k, v in options.items() if k in _given(request)},
        },
        "data": {
            "name": source.name,
            "split": "train",
            "normalisation": normalisation.to_dict(),
            "classes": images.classes,
        },
        "seeds": [request.seed],
        "batch_index": 0,
    }
    return Measuring(
        inputs,
        targets,
        request.probe_every,
        request.check_every,
        plan.recipe.length,
        request.units,
        meta,
    )


def _given(request: TrainingRequest) -> set[str]:
    return set(model_options(request))


def _check_destination(request: TrainingRequest) -> None:
    """Check, before the data are read, that the run can be written.

    Raises:
        RecordError: if there is something else, or it cannot be written.
        TrainingError: if it is to be resumed, and there is no run.
    """
    out = request.out
    if out is None:
        require_writable(RUNS)
        return
    if out.exists() and not out.is_dir():
        raise RecordError(f"{out} is a file; choose another --out")
    begun = {entry.name for entry in out.iterdir()} - {LOCK, EVENTS} if out.exists() else set()
    if request.resume:
        require_run(out)
    elif begun and not left_before_checkpoint(out):  # those two are there as soon as a run tries to begin
        raise RecordError(
            f"{out} exists and is kept; continue its run with --resume, or choose another --out"
        )
    require_writable(out.absolute())
    if out.exists():
        with locked(out):  # found out now rather than after the data were read
            pass


@contextmanager
def _directory(request: TrainingRequest, job: Job) -> Iterator[Path]:
    """Yield the run's directory: that of --out, or the next free one, which is made to claim it."""
    if request.out is not None:
        yield request.out
        return
    out: Path | None = None
    if job.is_first:
        with next_free_run(request.spec) as free:
            free.mkdir()
            out = free
    yield job.from_first(out)
