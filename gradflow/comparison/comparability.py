"""Whether two records may be compared number by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gradflow.record import Meta


def differences_in_measuring(first: Meta, second: Meta) -> list[str]:
    """Return in words what keeps two records from being compared number by number; empty if nothing does."""
    return [
        f"{aspect}: {told(first)} and {told(second)}"
        for aspect, told in ASPECTS.items()
        if told(first) != told(second)
    ]


def how_to_measure_alike(first: Meta, second: Meta) -> str:
    """Return the options by which gradflow probe measures two networks alike that were measured otherwise."""
    options = [_OPTIONS[aspect] for aspect, told in ASPECTS.items() if told(first) != told(second)]
    one, other = first["data"], second["data"]
    if one.get("normalisation") != other.get("normalisation"):
        # No option sets a normalisation, but a training run has one to give.
        if all(one.get(key) == other.get(key) for key in ("name", "split")):
            options.remove(_OPTIONS["data"])
        options.append("--data-of CHECKPOINT (data and normalisation of the training run that wrote it)")
    return f"probe both with the same {', '.join(options)}"


def describe_data(meta: Meta) -> str:
    """Return which data a record is of, with split and normalisation."""
    data = meta["data"]
    words = [str(data.get("name"))]
    if data.get("split") is not None:
        words.append(f"({data['split']})")
    if data.get("normalisation") is not None:
        words.append(_describe_normalisation(data["normalisation"]))
    return " ".join(words)


def _describe_normalisation(value: Any) -> str:
    """Return it in words with all its numbers: data are the same only if these are."""
    if not (isinstance(value, dict) and isinstance(value.get("kind"), str)):
        return f"normalised by {compact(value)}"
    rest = {name: part for name, part in value.items() if name != "kind"}
    told = _KINDS.get(value["kind"], f"normalised by {value['kind']}")
    return (
        f"{told} ({'; '.join(f'{name} {_in_words(part)}' for name, part in rest.items())})" if rest else told
    )


def _in_words(part: Any) -> str:
    return ", ".join(map(compact, part)) if isinstance(part, list) else compact(part)


def compact(value: Any) -> str:
    """Return a metadata value on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


ASPECTS: dict[str, Callable[[Meta], str]] = {
    "data": describe_data,
    "batch size": lambda meta: str(meta["batch_size"]),
    "BN mode": lambda meta: str(meta["bn"]),
    "loss": lambda meta: str(meta["loss"]["name"]),
}
"""In what records must agree to be compared number by number, and how each is told."""

_KINDS = {
    "none": "not normalised",
    "per-channel": "normalised per channel",
    "pixel-mean": "less the mean of each pixel",
}
"""How each `kind` of `gradflow.data.normalisation` is told."""

_OPTIONS = {"data": "--data and --split", "batch size": "--batch-size", "BN mode": "--bn", "loss": "--loss"}
"""What of `gradflow probe` sets each."""
