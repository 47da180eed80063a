"""Folders of images, whole and broken."""

from __future__ import annotations

import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gradflow.data import open_data
from gradflow.data.normalisation import CIFAR10, GREY, IMAGENET
from gradflow.errors import DataError

CIFAR_ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10-jpeg.tar.xz"


def make_folder(
    root: Path,
    *,
    classes: tuple[str, ...] = ("ant", "bee", "cow"),
    images: int = 4,
    size: tuple[int, int] = (32, 32),
    suffix: str = ".png",
) -> Path:
    """Write `images` files a class and split; image i of class k has all pixels (10 k, i, 255 or 0)."""
    folder = root / "insects"
    for split, blue in (("train", 0), ("test", 255)):
        for k, label in enumerate(classes):
            directory = folder / split / label
            directory.mkdir(parents=True)
            for i in range(images):
                pixels = np.full((*size, 3), (10 * k, i, blue), dtype=np.uint8)
                Image.fromarray(pixels).save(directory / f"{i:04}{suffix}")
    return folder


def open_folder(folder: Path, **options: object) -> object:
    """Open the folder with batches of two unless told otherwise."""
    return open_data(f"folder:{folder}", **{"batch_size": 2, **options})


def test_every_image_comes_once_with_its_class(tmp_path: Path) -> None:
    """Over all batches each file is met exactly once, its pixels normalised, its class the folder's."""
    source = open_folder(make_folder(tmp_path), batch_size=3)
    assert source.classes == ("ant", "bee", "cow")
    met = set()
    for images, targets in source.batches(4):
        assert images.shape == (3, 3, 32, 32)
        for image, target in zip(images, targets, strict=True):
            channels = torch.tensor(CIFAR10.std) * image[:, 0, 0] + torch.tensor(CIFAR10.mean)
            red, green, blue = (255 * channels).round().int().tolist()
            assert (red, blue) == (10 * target, 0)
            met.add((int(target), green))
    assert met == {(k, i) for k in range(3) for i in range(4)}


def test_batches_depend_on_the_seed_only_and_mix_classes(tmp_path: Path) -> None:
    """A seed is an order of the files; a batch is not the first class alone."""
    folder = make_folder(tmp_path)
    orders = {
        seed: [tuple(targets.tolist()) for _, targets in open_folder(folder, seed=seed).batches(6)]
        for seed in (0, 0, 1)
    }
    assert orders[0] != orders[1]
    assert orders[0] == [tuple(t.tolist()) for _, t in open_folder(folder, seed=0).batches(6)]
    assert len(set(orders[0][0] + orders[0][1])) > 1


def test_the_test_split_is_another_set(tmp_path: Path) -> None:
    """`split` chooses the folder."""
    images, _ = next(open_folder(make_folder(tmp_path), split="test").batches(1))
    blue = images[:, 2] * CIFAR10.std[2] + CIFAR10.mean[2]
    torch.testing.assert_close(blue, torch.ones_like(blue))


@pytest.mark.parametrize(
    ("shape", "normalisation"),
    [((3, 32, 32), CIFAR10), ((3, 40, 48), IMAGENET), ((1, 32, 32), GREY)],
)
def test_normalisation_follows_the_shape_and_is_said(
    shape: tuple[int, int, int], normalisation: object, tmp_path: Path
) -> None:
    """Constants are CIFAR-10's at 32 × 32, ImageNet's elsewhere; grey images have one channel."""
    source = open_folder(make_folder(tmp_path, size=shape[1:]), input_shape=shape)
    assert next(source.batches(1))[0].shape == (2, *shape)
    assert source.normalisation == normalisation.to_dict()
    assert source.normalisation["kind"] == "per-channel"


def test_the_name_hides_the_path(tmp_path: Path) -> None:
    """A record has the last part of the path, or the name that was given."""
    folder = make_folder(tmp_path)
    assert open_folder(folder).name == "folder:insects"
    assert open_folder(folder / ".." / "insects" / ".").name == "folder:insects"
    assert open_folder(folder, name="cifar10-jpeg").name == "folder:cifar10-jpeg"


def test_only_the_images_of_a_batch_are_decoded(tmp_path: Path) -> None:
    """A broken file that no batch needs does no harm, and is named by the batch that needs it."""
    folder = make_folder(tmp_path)
    broken = folder / "train" / "bee" / "0002.png"
    broken.write_bytes(broken.read_bytes()[:40])
    batches = open_folder(folder, batch_size=1).batches(12)
    position = list(np.random.default_rng(0).permutation(12)).index(4 + 2)
    assert len(list(islice(batches, position))) == position
    with pytest.raises(DataError, match=r"folder:insects: train/bee/0002\.png is no image that can be read"):
        next(batches)


@pytest.mark.parametrize("content", [b"", b"GIF89a nonsense", b"\xff\xd8\xff\xe0 cut short"])
def test_broken_images_are_named(content: bytes, tmp_path: Path) -> None:
    """Empty, foreign and truncated files are errors with the file's name below the folder."""
    folder = make_folder(tmp_path, images=1, classes=("ant",), suffix=".jpg")
    (folder / "train" / "ant" / "0000.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"train/ant/0000\.jpg is no image that can be read \(\w+\); remove"):
        next(open_folder(folder, batch_size=1).batches(1))


def test_images_of_another_size_are_named_with_a_way_out(tmp_path: Path) -> None:
    """The error says both sizes and the option that would fit."""
    folder = make_folder(tmp_path, size=(24, 30))
    message = r"train/.*png has 24 × 30 pixels, but the model takes 32 × 32; .* take --input-shape 3,24,30$"
    with pytest.raises(DataError, match=message):
        next(open_folder(folder).batches(1))


def test_layouts_that_are_none_are_refused(tmp_path: Path) -> None:
    """Missing, file, empty, no train/, no class, no image, other classes: each is said."""
    with pytest.raises(DataError, match=r"absent' does not exist; expected train/<class>/<image>"):
        open_folder(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"is not a directory"):
        open_folder(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no train/; .* and it holds nothing$"):
        open_folder(tmp_path / "empty")
    (tmp_path / "empty" / "train").mkdir()
    with pytest.raises(DataError, match=r"has no class folder in train/"):
        open_folder(tmp_path / "empty")
    (tmp_path / "empty" / "train" / "ant").mkdir()
    with pytest.raises(DataError, match=r"folder:empty: train/ant holds no image \(\.bmp, \.jpeg"):
        open_folder(tmp_path / "empty")
    folder = make_folder(tmp_path)
    (folder / "test" / "dog").mkdir()
    with pytest.raises(DataError, match=r"train/ and test/ do not hold the same classes; .* has dog$"):
        open_folder(folder, split="test")


@pytest.mark.parametrize(
    ("options", "count", "message"),
    [
        (
            {"batch_size": 13},
            1,
            r"batch size 13 is larger than folder:insects \(train\), which has 12 images",
        ),
        ({"batch_size": 5}, 3, r"3 batches of 5 were asked for; the 12 images of .* make 1 to 2"),
        ({}, 0, r"0 batches of 2 were asked for"),
        ({"num_classes": 10}, 1, r"folder:insects has 3 classes, but the model has 10 outputs; take --num-c"),
        ({"input_shape": (4, 32, 32)}, 1, r"images of 4 channels cannot be read from files"),
    ],
)
def test_what_does_not_fit_the_folder_is_refused(
    options: dict[str, object], count: int, message: str, tmp_path: Path
) -> None:
    """Batches larger than the data, or another number of classes, are errors."""
    with pytest.raises(DataError, match=message):
        list(open_folder(make_folder(tmp_path), **options).batches(count))


@pytest.mark.skipif(not CIFAR_ARCHIVE.exists(), reason="needs the CIFAR-10 images beside the checkout")
def test_real_images_come_out_standardised(tmp_path: Path) -> None:
    """Real images have means near 0 and deviations near 1, though these are bluish: all of one class."""
    with tarfile.open(CIFAR_ARCHIVE) as archive:
        for member in islice(archive, 400):
            content = archive.extractfile(member)
            if content is not None:  # a file, in whichever directory
                path = tmp_path / Path(member.name).parent.name / Path(member.name).name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content.read())
    directories = {path.parent for path in tmp_path.rglob("*.jpg")}
    folder = tmp_path / "sample"
    for directory in directories:
        target = folder / "train" / directory.name
        target.parent.mkdir(parents=True, exist_ok=True)
        directory.rename(target)
    source = open_folder(folder, batch_size=300)
    images, _ = next(source.batches(1))
    assert images.mean(dim=(0, 2, 3)).abs().max() < 0.7
    assert images.std(dim=(0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.25)
