"""`probe`: one forward and one backward pass, and everything that can be read in them."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from gradflow.probing.backward import UnitGradients
from gradflow.probing.batch_norm import BatchNormMode
from gradflow.probing.columns import Columns, unit_columns
from gradflow.probing.loss import Loss, loss_name
from gradflow.probing.metadata import describe_run
from gradflow.probing.parameters import branch_columns, norm_together, parameter_columns
from gradflow.probing.passes import Passes, run_passes
from gradflow.record import Record
from gradflow.units import Inputs, UnitSelection
from gradflow.units.eager import eager_modules
from gradflow.units.runs import Run
from gradflow.units.tracing import TracedUnit


def probe(
    model: nn.Module,
    inputs: Inputs,
    targets: Any = None,
    *,
    loss: Loss | None = None,
    bn: BatchNormMode = "batch",
    units: UnitSelection | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Record:
    """Measure how signals and gradients pass the residual units of `model`.

    One forward and one backward pass over one batch. Parameters, buffers, gradients,
    training mode, hooks and random state are left as they were, also after an exception.

    Args:
        model: any network; it is not edited.
        inputs: a tensor of shape (batch, …), or a tuple or dict of the model's arguments.
        targets: class indices or values; see `gradflow.probing.loss.evaluate_loss`.
        loss: called as ``loss(outputs, targets)``; as ``loss(outputs)`` where targets are None.
        bn: how batch normalisation runs; see `gradflow.probing.batch_norm`.
        units: a regular expression for whole module names, or names, of the units to measure.
        meta: what else the record is to say (model's name, checkpoint, data, seeds, …).

    Returns:
        a record with its tables `units`, `parameters` and `steps` filled.

    Raises:
        NoResidualUnitError: if the model has no residual unit and none was named.
        ProbeError: if there is no scalar loss with a gradient, or the model is compiled.
    """
    with without_collection():
        modules = eager_modules(model)
        _, model = modules[0]
        passes = run_passes(model, inputs, targets, loss=loss, bn=bn, units=units, modules=modules)
        record = make_record(model, passes, loss_name(loss, targets), bn, meta)
        del passes  # before the collector is on again, and would walk through all of it
    return record


def make_record(
    model: nn.Module,
    passes: Passes,
    loss: str,
    bn: BatchNormMode,
    meta: Mapping[str, Any] | None,
    columns_of: Callable[..., Columns] = parameter_columns,
) -> Record:
    """Return the record of what `passes` showed of `model`.

    Args:
        model: the network.
        passes: what was read.
        loss: its name.
        bn: how batch normalisation ran.
        meta: as for `probe`.
        columns_of: makes the columns of the table `parameters`.
    """
    described = passes.described
    parameters = columns_of(passes.parameters, passes.parameter_gradients, described)
    described_meta = describe_run(model, passes, int(parameters["numel"].sum()), loss, bn, meta)
    keys = {
        "iteration": (described_meta["checkpoint"] or {}).get("iteration") or 0,
        "seed": described_meta["seeds"][0] if described_meta["seeds"] else None,
        "batch_index": described_meta.pop("batch_index", 0),
    }
    tables: dict[str, Columns] = {
        "units": {
            **unit_columns(
                described,
                passes.values,
                passes.gradients,
                passes.numel,
                _open_run_ends(passes.units, passes.runs, passes.gradients),
                passes.batch,
            ),
            **branch_columns(parameters, described),
            **_word_columns(passes),
        },
        "parameters": {
            **parameters,
            "enters": [passes.entering.get(name) for name in parameters["name"]],
        },
        "steps": {
            "loss": [passes.loss if math.isfinite(passes.loss) else math.nan],
            "param_grad_norm": [
                norm_together(parameters["grad_norm"].tolist(), parameters["nonfinite"].tolist())
            ],
        },
    }
    return Record.from_columns(tables, keys, described_meta)


@contextmanager
def without_collection() -> Iterator[None]:
    """Put garbage collection off: in the middle of a probe it would walk all objects of the process.

    A probe makes many small objects and no cycles, so it would set the collector off and
    give it nothing to collect, for a tenth of a second with torch loaded.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _word_columns(passes: Passes) -> Columns:
    """Return the columns that say which operations stand in the branches, and behind the last unit."""
    return {
        "branch_start": [words.start for words in passes.words],
        "branch_end": [words.end for words in passes.words],
        "head_start": [*[None] * (len(passes.words) - 1), passes.head],
    }


def _open_run_ends(
    units: list[TracedUnit], runs: list[Run], gradients: list[UnitGradients]
) -> list[int | None]:
    """Return L for each unit from which the run to its end is a chain: nothing else reaches it."""
    ends: list[int | None] = [None] * len(units)
    for run in runs:
        for index in range(run.last, run.first - 1, -1):
            if gradients[index].other is not None:
                break
            ends[index] = run.end
    return ends
