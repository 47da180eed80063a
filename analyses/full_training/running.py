"""Running the queue in slices: which run is where, several at a time where that is faster."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gradflow.errors import RecordError
from gradflow.record import load_record
from gradflow.training.checkpoints import FOLDER, NEWEST

PACKS = (1, 2, 4)
"""How many runs at a time are tried."""


class Job(Protocol):
    """One run of a queue."""

    @property
    def name(self) -> str:
        """Of its directory."""

    @property
    def options(self) -> tuple[str, ...]:
        """Of `gradflow train`, which tell it from the others."""


@dataclass(frozen=True)
class Progress:
    """How far a run is: steps done of how many, its test errors in percent, and its steps a second."""

    iteration: int = 0
    length: int = 0
    last_error: float | None = None
    best_error: float | None = None
    recipe: str = ""
    data: str = ""
    rate: float | None = None

    @property
    def finished(self) -> bool:
        """Whether all its steps are made."""
        return 0 < self.length == self.iteration


def read_progress(folder: Path) -> Progress:
    """Return how far the run in `folder` is, from its record.

    Raises:
        RecordError: if the record is damaged, or of something else.
    """
    if not (folder / "record.json").exists():
        return Progress()
    meta = load_record(folder).meta
    if "training" not in meta:
        raise RecordError(f"'{folder}' holds a record that is not of a training run")
    training = meta["training"]
    last, best = training["last_error"], training["best"]
    return Progress(
        training["iteration"],
        training["recipe"]["length"],
        None if last is None else 100 * last,
        None if best is None else 100 * best["test_error"],
        training["recipe"]["name"],
        str(meta["data"]["name"]),
        training.get("steps_per_second"),
    )


@dataclass(frozen=True)
class Queue:
    """The runs of one place.

    Attributes:
        folder: holds a directory for each run.
        options: of `gradflow train`, for all.
    """

    folder: Path
    options: tuple[str, ...]

    def unfinished(self, entries: Sequence[Job]) -> list[Job]:
        """Return the entries that have steps left, in order."""
        return [entry for entry in entries if not read_progress(self.folder / entry.name).finished]

    def work(self, entries: Sequence[Job], minutes: float, pack: int | None) -> None:
        """Run entries, the first ones first, until all are finished or the time is over.

        One that ends with an error, because it diverged for instance, does not keep the others waiting.

        Args:
            entries: the queue.
            minutes: how long, in all.
            pack: how many at a time; None tries what is fastest.

        Raises:
            RecordError: at the end, if a run ended with an error.
        """
        deadline = time.monotonic() + 60 * minutes
        failed: list[str] = []
        together = pack
        while time.monotonic() < deadline:
            left = [entry for entry in self.unfinished(entries) if entry.name not in failed]
            if not left:
                break
            together = together or self.fastest_pack(left, minutes)
            jobs = {
                entry.name: self._start(entry, self.folder / entry.name, (deadline - time.monotonic()) / 60)
                for entry in left[:together]
            }
            failed += [name for name, job in jobs.items() if job.wait() != 0]
        if failed:
            raise RecordError(f"training failed in {', '.join(failed)}; its line is above")

    def fastest_pack(self, entries: Sequence[Job], minutes: float) -> int:
        """Return how many runs at a time make the most steps together, by trying it for a little while.

        What counts is the rate after the first step, so that starting and compiling do not.
        """
        trial = min(1.0, minutes / 20)
        rates = {}
        for together in PACKS:
            if together > len(entries):
                break
            places = [self.folder / f".trial-{index}" for index in range(together)]
            try:
                jobs = [self._start(entries[0], place, trial, "--quiet") for place in places]
                ended = [job.wait() for job in jobs]
                made = [read_progress(place).rate for place in places]
            finally:
                for place in places:
                    shutil.rmtree(place, ignore_errors=True)
            known = [rate for rate in made if rate is not None]
            if any(ended) or len(known) < together:  # out of memory, or too slow to start to tell
                break
            rates[together] = sum(known)
        return max(rates, key=lambda together: rates[together], default=1)

    def _start(self, entry: Job, out: Path, minutes: float, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gradflow", "train", *entry.options, *self.options]
        if (out / FOLDER / NEWEST).exists():
            command.append("--resume")
        command += [f"--out={out}", f"--stop-after={max(minutes, 0):.4f}", *more]
        return subprocess.Popen(command)
