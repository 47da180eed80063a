"""Probes of one network, trained or untrained, over several batches, each kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

from common.images import Images, load_batch

from gradflow.checkpoint import Checkpoint, load_checkpoint, load_into
from gradflow.cli.subject import describe_checkpoint
from gradflow.models import build_model
from gradflow.probing import probe
from gradflow.record import Record, is_record, load_record
from gradflow.record.files import explained, write_file
from trained.runs import Run


def measure(
    run: Run,
    images: Images,
    seeds: int,
    batch_size: int,
    work: Path,
    *,
    trained: bool,
    redraw: bool = False,
) -> Record:
    """Return what probes of a run's network show, one for each seed, stacked.

    A seed stands for a batch of training images and, untrained, for initial weights. Trained or not, the
    images are normalised as in the training, and batch normalisation uses the batch's statistics as there.

    Args:
        run: says which network, and what it was trained to.
        images: where they come from.
        seeds: how many.
        batch_size: images a batch.
        work: where measurements are kept.
        trained: with the run's weights, or as it was initialised.
        redraw: measure nothing.

    Raises:
        DataError: if there are no images.
        RecordError: if `work` cannot be written, or `redraw` forbids to measure what is not there.
    """
    digest = hashlib.sha256(run.weights).hexdigest()[:12]
    weights = work / f"{run.network}-{digest}.pt"
    with explained(work):
        work.mkdir(parents=True, exist_ok=True)
        write_file(weights, run.weights)
    checkpoint = load_checkpoint(weights)
    state = f"trained-{digest}" if trained else "untrained"
    found = []
    for seed in range(seeds):
        place = work / f"{run.network}-{state}-{batch_size}-{seed}"
        if not is_record(place) and not redraw:
            _measure_one(run, checkpoint, images, seed, batch_size, trained=trained).save(place)
        found.append(load_record(place))
    return Record.concat(found)


def _measure_one(
    run: Run, checkpoint: Checkpoint, images: Images, seed: int, batch_size: int, *, trained: bool
) -> Record:
    inputs, targets, data = load_batch(images, batch_size, seed, "train", checkpoint)
    model = build_model(run.network, seed=seed)
    if trained:
        load_into(model, checkpoint)
    meta = {
        "model": {"name": run.network, "options": {}},
        "checkpoint": describe_checkpoint(checkpoint if trained else None),
        "data": data,
        "seeds": [seed],
    }
    return probe(model, inputs, targets, bn="batch", meta=meta)
