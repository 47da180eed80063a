"""How a training run goes, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gradflow.cli.messages import say
from gradflow.record import Record

_LINE_EVERY = 30.0
"""Seconds between plain lines, which a log collects."""

_RECENT = 100
"""Steps over which the shown training error is averaged: that of one batch jumps."""


class Telling:
    """A watcher that keeps what is to be shown, and calls `show` when it changes.

    Args:
        show: called with this object.
    """

    def __init__(self, show: Callable[[Telling], None]) -> None:
        self._show = show
        self.iteration = self.length = 0
        self._begin = (time.monotonic(), 0)
        self._errors: deque[float] = deque(maxlen=_RECENT)
        self.test_error: float | None = None
        self.tested_now = False

    def started(self, iteration: int, length: int) -> None:
        """Begin."""
        self.iteration, self.length = iteration, length
        self._begin = (time.monotonic(), iteration)
        self._show(self)

    def stepped(self, rows: Sequence[dict[str, Any]]) -> None:
        """Show steps."""
        for row in rows:
            self.iteration = row["iteration"]
            self._errors.append(row["error"])
        self._show(self)

    def tested(self, iteration: int, loss: float, error: float) -> None:
        """Show a test."""
        self.test_error, self.tested_now = error, True
        self._show(self)
        self.tested_now = False

    def measured(self, iteration: int, record: Record) -> None:
        """Nothing is said of a measurement."""

    def saved(self, iteration: int) -> None:
        """Nothing is said of a checkpoint."""

    def ended(self) -> None:
        """Nothing is said of the end."""

    @property
    def rate(self) -> float:
        """Iterations a second since this process began."""
        began, first = self._begin
        return (self.iteration - first) / max(time.monotonic() - began, 1e-9)

    def errors(self) -> str:
        """Return the errors in words."""
        words = []
        if self._errors:
            words.append(f"training error {100 * sum(self._errors) / len(self._errors):.1f} %")
        if self.test_error is not None:
            words.append(f"test error {100 * self.test_error:.1f} %")
        return ", ".join(words) or "no error yet"


@contextmanager
def told(spec: str, *, quiet: bool) -> Iterator[list[Telling]]:
    """Yield the watchers that tell on standard error how a run goes; with `quiet` none."""
    console = Console(stderr=True)
    if quiet:
        yield []
    elif console.is_terminal:
        yield from _bar(spec, console)
    else:
        yield [Telling(_Lines(spec))]


def _bar(spec: str, console: Console) -> Iterator[list[Telling]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[errors]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(spec, total=None, rate="", errors="")

        def show(telling: Telling) -> None:
            progress.update(
                task,
                completed=telling.iteration,
                total=telling.length,
                rate=f"{telling.rate:.1f} it/s",
                errors=telling.errors(),
            )

        yield [Telling(show)]


class _Lines:
    """Says a line at each test, and else every so many seconds."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self._said = -_LINE_EVERY

    def __call__(self, telling: Telling) -> None:
        now = time.monotonic()
        if not telling.tested_now and now - self._said < _LINE_EVERY:
            return
        self._said = now
        left = (telling.length - telling.iteration) / telling.rate if telling.rate else None
        remaining = "" if left is None else f", {timedelta(seconds=round(left))} left"
        say(
            f"{self._spec}: iteration {telling.iteration:,} of {telling.length:,}, "
            f"{telling.rate:.2f} it/s{remaining}, {telling.errors()}"
        )
