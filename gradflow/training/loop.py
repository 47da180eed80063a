"""The training loop: steps, and between them tests, measurements and checkpoints, each at its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gradflow.data.normalisation import keep_normalisation
from gradflow.determinism import random_state
from gradflow.errors import DivergedError, RecordError
from gradflow.record.files import sha256
from gradflow.training import checkpoints
from gradflow.training.evaluation import evaluate
from gradflow.training.history import History
from gradflow.training.images import Batches
from gradflow.training.numbers import Row, StepNumbers, is_finite, with_nulls
from gradflow.training.plan import Locate, OnStep, Outcome, Plan, Watcher
from gradflow.training.precision import dtype_of
from gradflow.training.steps import Steps

_READ_EVERY = 20
"""Steps between two readings where reading stops a device."""


class Training:
    """One run: steps, tests, measurements and checkpoints, each at its time.

    Args:
        steps: makes them.
        test: the test images.
        plan: the run.
        out: its directory.
        history: what was recorded so far.
        on_step: see `gradflow.training.plan.OnStep`; None measures nothing.
        locate: see `gradflow.training.plan.Locate`; None does not look.
        watchers: are told how it goes.
    """

    def __init__(
        self,
        steps: Steps,
        test: Batches,
        plan: Plan,
        out: Path,
        history: History,
        on_step: OnStep | None,
        locate: Locate | None,
        watchers: Sequence[Watcher],
    ) -> None:
        self._steps = steps
        self._test = test
        self._plan = plan
        self._out = out
        self._history = history
        self._on_step = on_step
        self._locate = locate
        self._watchers = watchers if steps.job.is_first else ()
        self._best: dict[str, float] | None = None
        self._last_error: float | None = None
        self._saved = 0
        self._saved_as: dict[str, Any] = {}
        self._first_step: tuple[int, float] | None = None  # of this process: its iteration, and when it ended

    def resume(self, state: checkpoints.State) -> int:
        """Put everything back as it was when `state` was saved; return the steps done."""
        checkpoints.restore(state, self._steps.model, self._steps.optimizer)
        self._best = state["best"]
        self._last_error = state["last_error"]
        self._saved = int(state["iteration"])
        if self._steps.job.is_first:
            # Not what the record says: a run may have been killed between writing the one and the other.
            content = (self._out / checkpoints.FOLDER / checkpoints.NEWEST).read_bytes()
            self._name_checkpoint(checkpoints.NEWEST, content)
        return self._saved

    def run(self, iteration: int, should_stop: Callable[[], bool]) -> Outcome:
        """Make the steps after `iteration`, until all are made or `should_stop` says so.

        Raises:
            DivergedError: if the loss or the gradient stops being finite.
        """
        try:
            return self._run(iteration, should_stop)
        finally:
            for watcher in self._watchers:
                watcher.ended()

    def _run(self, iteration: int, should_stop: Callable[[], bool]) -> Outcome:
        job, plan, length = self._steps.job, self._plan, self._plan.recipe.length
        waits = job.device.type == "cuda"  # elsewhere reading is free, and asking costs less than averaging
        numbers = StepNumbers(job, _READ_EVERY)
        for watcher in self._watchers:
            watcher.started(iteration, length)
        if iteration == 0:
            self._measure(0)
            self._save(0, checkpoints.NEWEST)
        stopped = False
        while iteration < length and not stopped:
            iteration += 1
            self._steps.make(iteration, numbers)
            last = iteration == length
            tests = last or iteration % plan.test_every == 0
            saves = last or iteration % plan.checkpoint_every == 0
            if tests or saves or not waits or iteration % _READ_EVERY == 0:
                self._read(numbers)
                stopped = job.any(should_stop())
            self._measure(iteration)
            if tests:
                self._run_test(iteration)
            if saves or stopped:
                self._save(iteration, checkpoints.NEWEST)
            if self._first_step is None:  # what takes long once, such as compilation, is behind it
                self._first_step = iteration, time.perf_counter()
        best = None if self._best is None else self._best["test_error"]
        return Outcome(self._out, iteration, iteration == length, self._last_error, best)

    def _measure(self, iteration: int) -> None:
        if self._on_step is None or not self._steps.job.is_first:
            return
        record = self._on_step(iteration, self._steps.model)
        if record is not None:
            self._history.add_record(record)
            for watcher in self._watchers:
                watcher.measured(iteration, record)

    def _read(self, numbers: StepNumbers) -> None:
        """Take the numbers of the steps since the last reading.

        Raises:
            DivergedError: if one is not finite.
        """
        rows = numbers.read()
        broken = next((row for row in rows if not is_finite(row)), None)
        good = [row for row in rows if broken is None or row["iteration"] < broken["iteration"]]
        self._history.add_steps(good)
        for watcher in self._watchers:
            watcher.stepped(good)
        if broken is not None:
            raise DivergedError(self._explain(broken) + self._keep_until(broken))

    def _keep_until(self, broken: Row) -> str:
        """Write the record up to the step that failed, which has null for what is not finite.

        The checkpoint stays as it is, and a run that goes on from it cuts the tables back to it.

        Returns:
            what to add to the failure's line: nothing, or why the record could not be written.
        """
        if not self._steps.job.is_first:
            return ""
        iteration = broken["iteration"]
        self._history.add_steps([with_nulls(broken)])
        self._history.cut(iteration)
        try:
            self._history.write(self._out, checkpoint=self._saved_as, training=self._describe(iteration - 1))
        except RecordError as error:
            return f". The record ends there, too: {error}"
        return ""

    def _explain(self, row: Row) -> str:
        """Return where numbers stopped being finite; the weights are still those before that step."""
        iteration = row["iteration"]
        where = ""
        if self._locate is not None:
            where = f"; {self._locate(self._steps.model, *self._steps.part(iteration, 0))}"
        return (
            f"training diverged at iteration {iteration:,}: loss {row['loss']:.3g}, gradient norm "
            f"{row['param_grad_norm']:.3g} at learning rate {row['learning_rate']:g}{where}. The checkpoint "
            f"of iteration {self._saved:,} is kept in '{self._out}'; start again with a lower --learning-rate"
        )

    def _run_test(self, iteration: int) -> None:
        job = self._steps.job
        result = evaluate(self._steps.model, self._test) if job.is_first else None
        loss, error = job.from_first(result)
        self._last_error = error
        improved = self._best is None or error < self._best["test_error"]
        if improved:
            self._best = {"iteration": iteration, "test_error": error}
        best = self._pack(iteration) if improved else None
        if not job.is_first:
            return
        self._history.add_test(iteration, loss, error)
        for watcher in self._watchers:
            watcher.tested(iteration, loss, error)
        if best is not None:
            # The record first, as with the newest: a user may go on from the best weights, in its place.
            self._history.write(self._out, checkpoint=self._saved_as, training=self._describe(iteration))
            checkpoints.write_checkpoint(self._out, checkpoints.BEST, best)

    def _save(self, iteration: int, name: str) -> None:
        """Write record and checkpoint, in this order: tables can be cut back, but not be made up."""
        self._saved = iteration
        content = self._pack(iteration)
        if content is None:
            return
        self._name_checkpoint(name, content)
        self._history.write(self._out, checkpoint=self._saved_as, training=self._describe(iteration))
        checkpoints.write_checkpoint(self._out, name, content)
        for watcher in self._watchers:
            watcher.saved(iteration)

    def _name_checkpoint(self, name: str, content: bytes) -> None:
        """Keep what the record is to say of the newest checkpoint."""
        self._saved_as = {"name": name, "sha256": sha256(content), "iteration": self._saved}

    def _pack(self, iteration: int) -> bytes | None:
        """Return a checkpoint's bytes; None in all processes but the first, which must call this, too."""
        random = self._steps.job.from_each(random_state())
        if not self._steps.job.is_first:
            return None
        data = self._steps.data
        kept = {"name": data.images.name, "normalisation": keep_normalisation(data.normalisation)}
        return checkpoints.pack(
            self._steps.model,
            self._steps.optimizer,
            random=random,
            iteration=iteration,
            best=self._best,
            last_error=self._last_error,
            recorded=bool(self._history.meta),
            data=kept,
            run=self._plan.identity(self._steps.job.size),
        )

    def _rate(self, iteration: int) -> float | None:
        """Return steps a second of this process after its first one, measurements and tests included."""
        if self._first_step is None or iteration <= self._first_step[0]:
            return None
        first, ended = self._first_step
        return (iteration - first) / (time.perf_counter() - ended)

    def _describe(self, iteration: int) -> dict[str, Any]:
        job = self._steps.job
        return {
            "recipe": self._plan.recipe.to_dict(),
            **{key.replace("-", "_"): value for key, value in self._plan.details.items()},
            "test_every": self._plan.test_every,
            "data_seed": self._plan.seed,
            "images": len(self._steps.data.images),
            "test_images": len(self._test.images),
            "iteration": iteration,
            "steps_per_second": self._rate(iteration),
            "best": self._best,
            "last_error": self._last_error,
            "processes": job.size,
            "batch_norm": job.batch_norm(),
            "computed_in": dtype_of(job.device),
        }
