"""The runs of a report: their records, their names in it, and what is computed from them once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from gradflow.errors import RecordError
from gradflow.findings import describe_nonfinite
from gradflow.plots import Network, network_from
from gradflow.record import Meta, Record, find_records, load_record
from gradflow.statistics import last_iteration, summarise_stages
from gradflow.theory import compare
from gradflow.wording import printable


@dataclass(frozen=True)
class Run:
    """One record in a report.

    Attributes:
        folder: name of the directory that holds it.
        label: its name in the report, different from all others.
        record: what was measured, of units and parameters in the last iteration.
        nonfinite: where numbers stopped being finite, in any iteration, in words.
        network: its averages, as they are drawn.
        stages: one row a stage and one (stage null) for the network, `statistics.summarise_stages`.
        theory: predictions that are about it, with verdicts, `theory.compare`.
    """

    folder: str
    label: str
    record: Record
    nonfinite: Sequence[str]
    network: Network
    stages: pd.DataFrame
    theory: pd.DataFrame

    @property
    def meta(self) -> Meta:
        """The record's metadata."""
        return self.record.meta


def load_runs(paths: Iterable[Path]) -> list[Run]:
    """Read the records at `paths`: each a record's directory, or a directory of them.

    Raises:
        RecordError: if there is none, or one is damaged; the message names it.
    """
    runs, problems = load_usable(paths)
    if problems:
        raise RecordError(problems[0])
    return runs


def load_usable(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Read the records at `paths` that can be read.

    Returns:
        the runs; and why others could not be read, a sentence each, in which a record goes by its
        directory's name.

    Raises:
        RecordError: if there is none, or none of them can be read.
    """
    runs: list[Run] = []
    errors: list[tuple[Path, RecordError]] = []
    for folder in _find(paths):
        try:
            runs.append(_load(folder, len(runs)))
        except RecordError as error:
            errors.append((folder, error))
    if not runs:
        raise errors[0][1]
    labels = label_runs([run.meta for run in runs], [run.folder for run in runs])
    named = [
        replace(run, label=label, network=replace(run.network, label=label))
        for run, label in zip(runs, labels, strict=True)
    ]
    # A page is shown to others, and where somebody keeps his runs is nobody's business.
    return named, [
        printable(str(error).replace(str(folder), folder.resolve().name)) for folder, error in errors
    ]


def _find(paths: Iterable[Path]) -> list[Path]:
    folders: list[Path] = []
    for path in paths:
        found = find_records(path)
        if not found:
            raise RecordError(
                f"no run in '{path}': expected a record's directory, or directories of records in it; "
                "`gradflow probe --model preact164` makes one"
            )
        folders += [folder for folder in found if folder.resolve() not in {one.resolve() for one in folders}]
    if not folders:
        raise RecordError("no run to report on: `gradflow probe --model preact164` makes one")
    return folders


def _load(folder: Path, index: int) -> Run:
    """Read one record, and keep of it what a report shows: a training run has hundreds of iterations.

    Raises:
        RecordError: if it is damaged, or has no unit.
    """
    record = load_record(folder)
    if record.units.empty:
        raise RecordError(f"the record '{folder}' has no residual unit to report on; leave it out")
    last = replace(
        record,
        units=last_iteration(record.units).reset_index(drop=True),
        parameters=last_iteration(record.parameters).reset_index(drop=True),
    )
    return Run(
        folder=printable(folder.resolve().name),
        label="",
        record=last,
        nonfinite=describe_nonfinite(record),
        network=network_from(record, "", index),
        stages=summarise_stages(last.units),
        theory=compare(last),
    )


def label_runs(metas: Sequence[Meta], folders: Sequence[str]) -> list[str]:
    """Name runs by model and training; where that is not enough, by their folders and numbers too."""
    models = [describe_model(meta) for meta in metas]
    details = [describe_training(meta) for meta in metas]
    for more in (folders, [f"no. {number}" for number in range(1, len(folders) + 1)]):
        times = Counter(zip(models, details, strict=True))
        details = [
            f"{detail}; {word}" if times[model, detail] > 1 else detail
            for model, detail, word in zip(models, details, more, strict=True)
        ]
    return [printable(f"{model} ({detail})") for model, detail in zip(models, details, strict=True)]


def describe_model(meta: Meta) -> str:
    """Return the model's name with the options it was built with, where there are any."""
    model = meta["model"]
    options = ", ".join(
        f"{key} {value}" for key, value in (model["options"] or {}).items() if value is not None
    )
    return f"{model['name']} [{options}]" if options else str(model["name"])


def describe_training(meta: Meta) -> str:
    """Return how far the network was trained, in a few words."""
    checkpoint = meta["checkpoint"]
    if checkpoint is None:
        return "untrained"
    iteration = checkpoint.get("iteration")
    return "trained" if iteration is None else f"trained at iteration {iteration:,}"
