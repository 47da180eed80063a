"""Whether runs may be compared number by number, and what a BN mode means for reading them."""

from __future__ import annotations

from collections.abc import Sequence

from gradflow.comparison import ASPECTS
from gradflow.record import Meta
from gradflow.record.metadata import SAMPLES_COUPLED
from gradflow.report.runs import Run

BN_MEANING = {
    "batch": (
        "Batch normalisation used this batch's own statistics, as in training. They couple the samples: "
        "what is said of the whole batch is exact, and the per-sample columns are slices of the whole "
        "batch's gradient, not gradients of single samples."
    ),
    "running": (
        "Batch normalisation used its running statistics, as in evaluation; samples do not depend on each "
        "other. In an untrained network these are 0 and 1, which is no normalisation at all."
    ),
    "frozen": (
        "Batch normalisation used this batch's statistics, held constant: samples do not depend on each "
        "other, and statements about single samples are exact."
    ),
}
_WITHOUT_BN = "Samples do not depend on each other, so statements about single samples are exact."


def explain_bn(meta: Meta) -> str:
    """Return what the record's BN mode means for its per-sample columns."""
    if meta["bn"] == "batch" and not meta["samples_coupled"]:
        return _WITHOUT_BN
    return BN_MEANING[meta["bn"]]


def explain_notes(meta: Meta) -> list[str]:
    """Return the record's notes as sentences, without the one that `explain_bn` says in more words."""
    same = _bare(SAMPLES_COUPLED)
    return [
        as_sentence(note)
        for note in meta["notes"]
        if _bare(note) != same or explain_bn(meta) != BN_MEANING["batch"]
    ]


def as_sentence(text: str) -> str:
    """Return `text` with a capital and a full stop; a first word that is a name stays as it is.

    >>> as_sentence("numbers are those of the whole job"), as_sentence("a.pt was trained on cifar10.")
    ('Numbers are those of the whole job.', 'a.pt was trained on cifar10.')
    """
    first = text.split(" ", 1)[0]
    begun = text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text
    return begun if begun.endswith((".", "!", "?")) else f"{begun}."


def _bare(note: str) -> str:
    return note.strip().rstrip(".").casefold()


def find_differences(runs: Sequence[Run]) -> list[str]:
    """Return in words what keeps the runs from being compared number by number; empty if nothing does."""
    aspects = {aspect: [told(run.meta) for run in runs] for aspect, told in ASPECTS.items()}
    return [
        f"{aspect}: "
        + "; ".join(f"{value} in {_names(runs, values, value)}" for value in dict.fromkeys(values))
        for aspect, values in aspects.items()
        if len(set(values)) > 1
    ]


def find_mixed_versions(runs: Sequence[Run]) -> list[str]:
    """Return in words that the runs' records are of different versions; empty if they are of one."""
    versions = [f"version {run.meta['schema_version']}" for run in runs]
    if len(set(versions)) < 2:
        return []
    told = "; ".join(f"{one} in {_names(runs, versions, one)}" for one in dict.fromkeys(versions))
    return [f"the records are of different versions: {told}; what an older one lacks is null"]


def _names(runs: Sequence[Run], values: Sequence[str], value: str) -> str:
    return ", ".join(run.label for run, own in zip(runs, values, strict=True) if own == value)
