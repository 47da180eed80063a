"""Measuring paths and lesions of trained and untrained networks, each measurement kept on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common.images import Images, load_batch

from gradflow.checkpoint import Checkpoint, load_into
from gradflow.cli.subject import describe_checkpoint, trained_with
from gradflow.data import open_data
from gradflow.models import build_model, make_spec
from gradflow.paths import lesion, path_gradients
from gradflow.probing.loss import error_rate
from gradflow.record import Record, is_record, load_record

PATH_BATCH = 8
LESION_BATCH = 50
SAMPLES = 8
TEST_IMAGES = 2000
_TEST_BATCHES = 4
DRAWS = 3


@dataclass(frozen=True, eq=False)
class Case:
    """One network with its weights.

    Attributes:
        network: its name in the zoo.
        checkpoint: its weights; None draws them anew for each repetition.
    """

    network: str
    checkpoint: Checkpoint | None

    @property
    def title(self) -> str:
        """Its name in figures."""
        return f"{self.network}, {'untrained' if self.checkpoint is None else 'trained'}"

    @property
    def units(self) -> int:
        """How many residual units it has."""
        return 3 * make_spec(self.network).units_per_stage

    @property
    def bn(self) -> str:
        """The BN mode of lesions: without training the running statistics are no normalisation."""
        return "batch" if self.checkpoint is None else "running"


def numbers_removed(units: int) -> list[int]:
    """Return how many of `units` units are left out together: to a half of them."""
    return sorted({max(2, round(units * part)) for part in (0.08, 0.18, 0.33, 0.5)})


def numbers_exchanged(units: int) -> list[int]:
    """Return how many pairs of units exchange places."""
    return sorted({max(1, round(units * part)) for part in (0.04, 0.12, 0.33, 0.8)})


def measure(
    case: Case, repetition: int, images: Images, work: Path, *, redraw: bool = False
) -> tuple[Record, Record]:
    """Return the records of paths and of lesions: from `work` if they are there, else measured now.

    A repetition has its own images and, without a checkpoint, its own weights. Paths are followed
    on training images with batch statistics, as in training; lesions are made at test time, on
    test images. With `redraw` nothing is measured.

    Raises:
        RecordError: if `redraw` forbids to measure what is not there.
    """
    state = "untrained" if case.checkpoint is None else f"trained-{case.checkpoint.sha256[:12]}"
    place = work / f"{case.network}-{state}-{repetition}"
    if not is_record(place / "paths") and not redraw:
        inputs, targets, meta = _batch(case, repetition, images, "train", PATH_BATCH)
        model = _model(case, repetition)
        path_gradients(model, inputs, targets, bn="batch", samples=SAMPLES, seed=repetition, meta=meta).save(
            place / "paths"
        )
    if not is_record(place / "lesions") and not redraw:
        inputs, targets, meta = _batch(case, repetition, images, "test", LESION_BATCH)
        lesion(
            _model(case, repetition),
            inputs,
            targets,
            bn=case.bn,  # type: ignore[arg-type] # one of the modes
            remove=numbers_removed(case.units),
            exchange=numbers_exchanged(case.units),
            draws=DRAWS,
            seed=repetition,
            meta=meta,
        ).save(place / "lesions")
    return load_record(place / "paths"), load_record(place / "lesions")


def _model(case: Case, repetition: int) -> Any:
    model = build_model(case.network, seed=repetition)
    if case.checkpoint is not None:
        load_into(model, case.checkpoint)
    return model


def _batch(
    case: Case, repetition: int, images: Images, split: Any, size: int
) -> tuple[Any, Any, dict[str, Any]]:
    checkpoint = case.checkpoint
    inputs, targets, data = load_batch(images, size, repetition, split, checkpoint)
    meta = {
        "model": {"name": case.network, "options": {}},
        "checkpoint": describe_checkpoint(checkpoint),
        "data": data,
        "seeds": [repetition],
    }
    return inputs, targets, meta


def trained_error(case: Case, images: Images, work: Path) -> float:
    """Return the error of a trained network on `TEST_IMAGES` test images: from `work` if it is there.

    Raises:
        GradflowError: if the images cannot be read.
    """
    assert case.checkpoint is not None, "an untrained network has no test error worth reading"
    place = work / f"test-error-{case.network}-{case.checkpoint.sha256[:12]}.json"
    if place.exists():
        return float(json.loads(place.read_text()))
    model = _model(case, 0).eval()
    size = TEST_IMAGES // _TEST_BATCHES
    source = open_data(
        images.spec,
        split="test",
        batch_size=size,
        num_classes=10,
        name=images.name,
        normalisation=trained_with(case.checkpoint),
    )
    with torch.no_grad():
        errors = [error_rate(model(inputs), targets) for inputs, targets in source.batches(_TEST_BATCHES)]
    found = float(np.mean(errors))
    place.write_text(json.dumps(found))
    return found
