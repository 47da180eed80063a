"""What a record says about where its numbers came from."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from gradflow import __version__
from gradflow.probing.batch_norm import BatchNormMode
from gradflow.probing.passes import Passes
from gradflow.record.metadata import SAMPLES_COUPLED
from gradflow.record.schema import SCHEMA_VERSION

_PACKAGES = ("torch", "numpy", "pandas")


@lru_cache
def _versions() -> dict[str, str]:
    """Return the versions that numbers may depend on; reading them takes longer than it should."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def describe_run(
    model: nn.Module,
    passes: Passes,
    elements: int,
    loss: str,
    bn: BatchNormMode,
    meta: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return a record's metadata.

    Args:
        model: the network.
        passes: what was run.
        elements: of all parameters.
        loss: name of the loss.
        bn: how batch normalisation ran.
        meta: what the caller knows (model's name, checkpoint, data, seeds, …); wins over
            what is found here, key by key, and inside `model`.
    """
    given = dict(meta or {})
    kind = type(model)
    first = next(iter(passes.parameters.values()))
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "gradflow_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": None,
        "model": {
            "name": kind.__name__,
            "options": {},
            "class": f"{kind.__module__}.{kind.__qualname__}",
            "parameters": elements,
            **given.pop("model", {}),
        },
        "checkpoint": None,
        "data": {"name": "given inputs", "split": None, "normalisation": None, "classes": None},
        "batch_size": passes.batch,
        "loss": {"name": loss, "value": passes.loss},
        "bn": bn,
        "samples_coupled": passes.samples_coupled,
        "dtype": str(first.dtype).removeprefix("torch."),
        "device": first.device.type,
        "threads": torch.get_num_threads(),
        "seeds": [],
        "batches": 1,
        "versions": dict(_versions()),
        "skipped": _skipped(passes),
        "notes": _notes(passes),
    }
    return found | given


def _skipped(passes: Passes) -> list[dict[str, str]]:
    """Return what is not in the record, and why, equal reasons together."""
    reasons = Counter((over.name, over.reason) for over in passes.described.passed_over)
    skipped = [
        {
            "what": f"addition in {name or 'the model'}" + (f" ({count} times)" if count > 1 else ""),
            "why": why,
        }
        for (name, why), count in reasons.items()
    ]
    for unit, value, gradient in zip(passes.described, passes.values, passes.gradients, strict=True):
        if value.x is None:
            why = "x_l is used inside an operation that cannot be seen into, so its norm was not read"
            skipped.append({"what": f"x_norm of unit {unit.index} ({unit.name})", "why": why})
        if gradient.arriving is None:
            why = "the loss does not depend on it"
            skipped.append({"what": f"gradients of unit {unit.index} ({unit.name})", "why": why})
    return skipped


def _notes(passes: Passes) -> list[str]:
    return [SAMPLES_COUPLED] if passes.samples_coupled else []
