"""Generated images."""

from __future__ import annotations

import pytest
import torch

from gradflow.data import open_data
from gradflow.errors import DataError


def test_batches_depend_on_seed_split_and_position_only() -> None:
    """Equal arguments give equal bits, also in another process state; each of the three changes them."""
    first = [images for images, _ in open_data("synthetic", batch_size=4, seed=3).batches(2)]
    torch.manual_seed(99)
    source = open_data("synthetic", batch_size=4, seed=3)
    again = [images for images, _ in source.batches(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=False))
    assert all(torch.equal(a, b) for (a, _), b in zip(source.batches(3), again, strict=True))
    others = [
        again[1],
        next(open_data("synthetic", batch_size=4, seed=4).batches(1))[0],
        next(open_data("synthetic", batch_size=4, seed=3, split="test").batches(1))[0],
    ]
    assert not any(torch.equal(first[0], other) for other in others)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 20), (4, 1, 1), (3, 224, 224)])
@pytest.mark.parametrize("num_classes", [1, 2, 10, 1000])
def test_any_image_shape_and_number_of_classes(shape: tuple[int, int, int], num_classes: int) -> None:
    """Shapes, types and classes are as asked for."""
    source = open_data("synthetic", batch_size=3, input_shape=shape, num_classes=num_classes)
    images, targets = next(source.batches(1))
    assert images.shape == (3, *shape)
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert targets.dtype == torch.int64
    assert len(source.classes) == num_classes
    assert 0 <= targets.min() <= targets.max() < num_classes


def test_classes_are_balanced_and_mixed() -> None:
    """Each class comes equally often, in no order."""
    _, targets = next(open_data("synthetic", batch_size=35).batches(1))
    assert set(targets.bincount(minlength=10).tolist()) == {3, 4}
    assert targets.tolist() != sorted(targets.tolist())


def test_pixels_are_standardised() -> None:
    """Mean 0 and variance 1, as inputs of a network should have, to a few per cent."""
    images, _ = next(open_data("synthetic", batch_size=200).batches(1))
    assert abs(images.mean().item()) < 0.02
    assert images.std().item() == pytest.approx(1, abs=0.05)


def test_the_classes_can_be_learned() -> None:
    """A linear classifier of 4 × 4 pooled pixels, fitted on one split, tells the other's classes apart."""

    def pooled(split: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, targets = next(open_data("synthetic", split=split, batch_size=400).batches(1))
        return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1), targets

    features, targets = pooled("train")
    weights = torch.linalg.lstsq(features, torch.nn.functional.one_hot(targets, 10).float()).solution
    features, targets = pooled("test")
    accuracy = ((features @ weights).argmax(1) == targets).float().mean().item()
    assert accuracy > 0.8  # chance is 0.1


@pytest.mark.parametrize("count", [0, -1])
def test_no_batches_is_refused(count: int) -> None:
    """At least one batch must be asked for."""
    with pytest.raises(DataError, match=r"expected at least 1"):
        next(open_data("synthetic").batches(count))
