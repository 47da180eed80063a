"""Checkpoints of a training run: complete, written whole or not at all, loadable without running code.

A checkpoint is a dictionary for `torch.load(weights_only=True)`: `model` and `iteration`, as
`gradflow.load_checkpoint` reads them, `data` with its normalisation, and what a run needs to go on
as if it had never stopped: `optimizer`, `random`, `best`, and `run`, by which it is known which
run it belongs to. The order of the data follows from seed and iteration.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from gradflow.errors import TrainingError
from gradflow.importing import describe
from gradflow.record.files import explained, write_file

FOLDER = "checkpoints"
NEWEST, BEST = "newest.pt", "best.pt"
FORMAT = "gradflow training checkpoint"

State = dict[str, Any]


def pack(
    model: nn.Module,
    optimizer: Optimizer,
    *,
    random: Sequence[Mapping[str, Any]],
    iteration: int,
    best: Mapping[str, float] | None,
    last_error: float | None,
    recorded: bool,
    data: Mapping[str, Any],
    run: Mapping[str, Any],
) -> bytes:
    """Return a checkpoint's bytes.

    Args:
        model: the network.
        optimizer: with its momentum.
        random: `random_state()` of each of the job's processes.
        iteration: steps done.
        best: `iteration` and `test_error` of the best weights so far, if there was a test.
        last_error: of the last test, if there was one.
        recorded: whether the run has a record.
        data: `name` and `normalisation`, the latter as `keep_normalisation` returns it.
        run: what the run is, in plain values.
    """
    state = {
        "format": FORMAT,
        "model": model.state_dict(),
        "iteration": iteration,
        "optimizer": optimizer.state_dict(),
        "random": [dict(one) for one in random],
        "best": None if best is None else dict(best),
        "last_error": last_error,
        "recorded": recorded,
        "data": dict(data),
        "run": dict(run),
    }
    sink = io.BytesIO()
    torch.save(state, sink)
    return sink.getvalue()


def write_checkpoint(out: Path, name: str, content: bytes) -> None:
    """Write a checkpoint into the run's directory `out`, in place of an earlier one of that name.

    Raises:
        RecordError: if the operating system refuses; the earlier one is then as it was.
    """
    folder = out / FOLDER
    with explained(folder / name):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, content)


def read_newest(out: Path) -> State | None:
    """Return the newest checkpoint of the run in `out`; None if there is none yet.

    Raises:
        TrainingError: if it is no checkpoint of a training run, or damaged.
    """
    path = out / FOLDER / NEWEST
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"the checkpoint '{path}' is damaged ({describe(error)[:120]}); remove it and put "
            f"{BEST} in its place, or start again with another --out"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(f"'{path}' is no checkpoint of a training run; choose another --out")
    return state


def require_same_run(state: State, run: Mapping[str, Any], out: Path) -> None:
    """Check that a checkpoint is of the run that is asked for.

    Raises:
        TrainingError: naming what differs.
    """
    differences = [
        f"{key} was {_shown(state['run'].get(key))} and is {_shown(run.get(key))}"
        for key in dict.fromkeys([*state["run"], *run])
        if state["run"].get(key) != run.get(key)
    ]
    if differences:
        raise TrainingError(
            f"the run in '{out}' cannot be resumed as another one: {'; '.join(differences[:4])}; "
            "give the options that it was started with, or another --out"
        )


def restore(state: State, model: nn.Module, optimizer: Optimizer) -> None:
    """Put a checkpoint's weights and momentum in place.

    Raises:
        TrainingError: if it does not fit the network.
    """
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(f"the checkpoint does not fit the network: {describe(error)[:200]}") from error


def _shown(value: Any) -> str:
    return "not said" if value is None else str(value)
