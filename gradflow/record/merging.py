"""One metadata for several measurements of one network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gradflow.errors import RecordError
from gradflow.record.metadata import Meta

SAME = ("schema_version", "model", "data", "batch_size", "bn", "samples_coupled", "dtype", "device")
"""Keys in which measurements that are stacked may not differ; nor in the loss's name."""


def merge_meta(metas: Sequence[Meta]) -> Meta:
    """Merge the metadata of records whose tables are stacked.

    Seeds, notes and skipped things are joined; the loss's value is the mean; the time is the last;
    what differs of checkpoint and versions is said in words.

    Args:
        metas: at least one.

    Raises:
        RecordError: if they differ in what would make their numbers incomparable.
    """
    first = metas[0]
    if len(metas) == 1:
        return dict(first)
    for meta in metas[1:]:
        for key in SAME:
            if meta[key] != first[key]:
                raise RecordError(
                    f"records differ in '{key}' and cannot be stacked: {first[key]}, {meta[key]}"
                )
        if meta["loss"]["name"] != first["loss"]["name"]:
            raise RecordError(
                f"records differ in their loss and cannot be stacked: {first['loss']['name']}, "
                f"{meta['loss']['name']}"
            )
    checkpoints = distinct(meta["checkpoint"] for meta in metas)
    notes = distinct(note for meta in metas for note in meta["notes"])
    if len(checkpoints) > 1:
        names = ", ".join("none" if one is None else str(one["name"]) for one in checkpoints)
        notes.append(f"Measured on several checkpoints: {names}.")
    seeds = distinct(seed for meta in metas for seed in meta["seeds"])
    commands = distinct(meta["command"] for meta in metas)
    return {
        **first,
        "gradflow_version": _joined(meta["gradflow_version"] for meta in metas),
        "created": max(meta["created"] for meta in metas),
        "command": commands[0] if len(commands) == 1 else None,
        "checkpoint": checkpoints[0] if len(checkpoints) == 1 else _several(checkpoints),
        "loss": {**first["loss"], "value": _mean([meta["loss"]["value"] for meta in metas])},
        "threads": max(meta["threads"] for meta in metas),
        "seeds": seeds,
        "versions": {
            name: _joined(meta["versions"][name] for meta in metas if name in meta["versions"])
            for name in distinct(name for meta in metas for name in meta["versions"])
        },
        "skipped": distinct(item for meta in metas for item in meta["skipped"]),
        "notes": notes,
    }


def _several(checkpoints: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return what stands for several trained networks, none of which is the one file that was measured."""
    trained = [one for one in checkpoints if one is not None]
    if len(trained) < len(checkpoints):
        return None
    iterations = distinct(one.get("iteration") for one in trained)
    return {"name": None, "sha256": None, "iteration": iterations[0] if len(iterations) == 1 else None}


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return each of `values` once, in order."""
    distinct: list[Any] = []
    for value in values:
        if value not in distinct:  # dictionaries have no hash
            distinct.append(value)
    return distinct


def _joined(values: Iterable[str]) -> str:
    return " and ".join(distinct(values))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
