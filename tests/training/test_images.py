"""Batches of images on the device, against the plainest way to make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from _runs import some_images

from gradflow.data.normalisation import Normalisation, PixelMean, keep_normalisation, kept_normalisation
from gradflow.errors import DataError
from gradflow.training import Batches, ImageTensors, fit_normalisation
from gradflow.training.images import crop


def batches(images: ImageTensors, **options: object) -> Batches:
    """Return batches of seven, cropped and mirrored unless told otherwise."""
    chosen = {"batch_size": 7, "seed": 5, "padding": 2, "flip": True} | options
    return Batches(images, fit_normalisation("pixel-mean", images), **chosen)


def test_crop_is_a_window_of_the_padded_image() -> None:
    """Each crop is the window at its corner in the image with zeros around it, mirrored where told."""
    images = torch.arange(3 * 4 * 5 * 2, dtype=torch.float32).view(3, 4, 5, 2) + 1
    corners = np.array([[0, 0], [1, 3], [4, 2]])
    mirrored = np.array([False, True, False])
    found = crop(images, corners, mirrored, padding=2)
    for image, (row, column), turned, cropped in zip(images, corners, mirrored, found, strict=True):
        padded = np.zeros((8, 9, 2), np.float32)
        padded[2:6, 2:7] = image.numpy()
        window = padded[row : row + 4, column : column + 5]
        np.testing.assert_array_equal(cropped.numpy(), window[:, ::-1] if turned else window)


def test_batch_without_chance_is_the_normalised_images() -> None:
    """Without crops and mirror images, a batch is the chosen images, normalised as a probe does it."""
    images = some_images()
    plain = batches(images, padding=0, flip=False)
    inputs, targets = plain.at(1)
    chosen = torch.from_numpy(plain.order(1))
    expected = plain.normalisation.apply(images.pixels[chosen].permute(0, 3, 1, 2))
    torch.testing.assert_close(inputs, expected, rtol=0, atol=2e-7)  # one multiplication for a division
    assert torch.equal(targets, images.targets[chosen])
    assert inputs.is_contiguous(memory_format=torch.channels_last)


def test_normalisations_of_the_training_set() -> None:
    """Each pixel's mean, or each channel's mean and deviation, as NumPy computes them."""
    images = some_images()
    pixels = images.pixels.numpy().astype(np.float64) / 255
    mean = fit_normalisation("pixel-mean", images)
    assert isinstance(mean, PixelMean)
    np.testing.assert_allclose(mean.mean.numpy(), pixels.mean(0).transpose(2, 0, 1), rtol=1e-6)
    channel = fit_normalisation("per-channel", images)
    assert isinstance(channel, Normalisation)
    np.testing.assert_allclose(channel.mean, pixels.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(channel.std, pixels.std((0, 1, 2)), rtol=1e-9)


def test_constant_channel_has_no_deviation() -> None:
    """Images whose channel is constant cannot be divided by its deviation, and the line says so."""
    images = some_images()
    dark = ImageTensors("dark", torch.zeros_like(images.pixels), images.targets, images.classes)
    with pytest.raises(DataError, match="--normalisation pixel-mean"):
        fit_normalisation("per-channel", dark)


def test_epochs_are_permutations() -> None:
    """Over two epochs every image comes twice, once in each, also where a batch reaches over the end."""
    stream = np.concatenate([batches(some_images()).order(iteration) for iteration in range(1, 19)])
    assert sorted(stream[:60]) == list(range(60))
    assert sorted(stream[60:120]) == list(range(60))
    assert list(stream[:60]) != list(stream[60:120])


def test_same_iteration_same_bits() -> None:
    """A batch depends on seed and iteration alone: not on what was asked for before, nor on torch's state."""
    images = some_images()
    first = batches(images).at(9)
    torch.manual_seed(99)
    again = batches(images)
    again.at(2)
    assert torch.equal(first[0], again.at(9)[0])
    assert not torch.equal(first[0], batches(images, seed=6).at(9)[0])
    assert not torch.equal(first[0], again.at(10)[0])


def test_parts_make_up_the_batch() -> None:
    """Parts of a batch, taken by anybody in any order, are slices of the whole."""
    whole, targets = batches(some_images(), batch_size=8).at(4)
    parts = [batches(some_images(), batch_size=8).at(4, slice(start, start + 2)) for start in (6, 0, 4, 2)]
    order = (1, 3, 2, 0)
    assert torch.equal(torch.cat([parts[index][0] for index in order]), whole)
    assert torch.equal(torch.cat([parts[index][1] for index in order]), targets)


@pytest.mark.parametrize("kind", ["pixel-mean", "per-channel"])
def test_normalisation_survives_a_checkpoint(kind: str) -> None:
    """What a checkpoint keeps of a normalisation gives the same inputs; what is not gradflow's gives none."""
    images = some_images()
    normalisation = fit_normalisation(kind, images)
    again = kept_normalisation(keep_normalisation(normalisation))
    assert again is not None
    pixels = images.pixels.permute(0, 3, 1, 2)
    torch.testing.assert_close(again.apply(pixels), normalisation.apply(pixels), rtol=0, atol=0)
    assert again.to_dict()["kind"] == normalisation.to_dict()["kind"]
    assert kept_normalisation({"mean": [0.5], "std": [0.5]}) is None
    assert kept_normalisation("ImageNet") is None
