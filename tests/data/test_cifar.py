"""CIFAR through torchvision's loader, on archives of its format with a few images."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from gradflow.data import open_data
from gradflow.data.cifar import default_root
from gradflow.data.normalisation import CIFAR10 as CONSTANTS
from gradflow.errors import DataError

LABELS = [f"label {k}" for k in range(10)]


@pytest.fixture
def cifar_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write CIFAR-10's files with 40 training and 10 test images; image i has all pixels i."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: object) -> str:
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    def batch(first: int) -> dict[str, object]:
        pixels = np.repeat(np.arange(first, first + 10, dtype=np.uint8)[:, None], 3072, axis=1)
        return {"data": pixels, "labels": [k % 10 for k in range(first, first + 10)]}

    train = [[f"data_batch_{k}", write(f"data_batch_{k}", batch(10 * k))] for k in range(4)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write("test_batch", batch(200))]])
    meta = {"filename": "batches.meta", "key": "label_names"}
    digest = write("batches.meta", {"label_names": LABELS})
    monkeypatch.setattr(CIFAR10, "meta", {**meta, "md5": digest})
    return tmp_path


def test_images_and_classes_are_torchvisions(cifar_root: Path) -> None:
    """All images of the split come once, normalised by the set's constants, with their classes."""
    source = open_data("cifar10", root=cifar_root, batch_size=8, num_classes=10)
    assert (source.name, list(source.classes)) == ("cifar10", LABELS)
    assert source.normalisation == CONSTANTS.to_dict()
    met = []
    for images, targets in source.batches(5):
        values = 255 * (images[:, 1, 3, 5] * CONSTANTS.std[1] + CONSTANTS.mean[1])
        assert torch.equal(values.round().long() % 10, targets)
        met += values.round().int().tolist()
    assert sorted(met) == list(range(40))


def test_the_test_split_is_the_test_batch(cifar_root: Path) -> None:
    """`split="test"` reads the other file."""
    images, _ = next(open_data("cifar10", root=cifar_root, batch_size=10, split="test").batches(1))
    assert (255 * (images * CONSTANTS.std[0] + CONSTANTS.mean[0]))[:, 0].min() > 199


def test_without_the_files_the_way_to_get_them_is_said(tmp_path: Path) -> None:
    """Nothing is downloaded unasked."""
    with pytest.raises(DataError, match=r"cifar100 is not in '.*', or damaged there; fetch it by --download"):
        open_data("cifar100", root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is one line."""

    def fail(_self: CIFAR10) -> None:
        raise OSError("Name or service\nnot known")

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(DataError, match=r"could not be downloaded: OSError: Name or service not known$"):
        open_data("cifar10", root=tmp_path, download=True)


def test_damaged_files_are_refused(cifar_root: Path) -> None:
    """A file with another digest is not read."""
    (cifar_root / CIFAR10.base_folder / "data_batch_1").write_bytes(b"x")
    with pytest.raises(DataError, match=r"or damaged there"):
        open_data("cifar10", root=cifar_root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": (3, 224, 224)}, r"cifar10 has images of 3,32,32, but the model takes 3,224,224"),
        ({"num_classes": 100}, r"cifar10 has 10 classes, but the model has 100 outputs"),
        ({"batch_size": 41}, r"batch size 41 is larger than cifar10 \(train\)"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str, cifar_root: Path) -> None:
    """Shape, classes and batch size are checked before anything is measured."""
    with pytest.raises(DataError, match=message):
        open_data("cifar10", root=cifar_root, **options)


def test_files_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default place follows XDG_CACHE_HOME."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_root() == Path("/somewhere/gradflow")
