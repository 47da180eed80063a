"""One training step in three ways: gradflow's, a hand-written one, and what public repositories run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import gradflow
from gradflow.training import RECIPES, Batches, ImageTensors, Job, Plan, fit_normalisation, resolve
from gradflow.training.numbers import StepNumbers
from gradflow.training.steps import Steps

Step = Callable[[], object]

IMAGES = 2_048
"""Enough that a batch's images are not all in the processor's cache."""


def images() -> ImageTensors:
    """Return random images of the size of CIFAR's; their content costs the same as any."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (IMAGES, 32, 32, 3), generator=generator, dtype=torch.uint8)
    targets = torch.randint(0, 10, (IMAGES,), generator=generator)
    return ImageTensors("random", pixels, targets, 10)


def batches(batch_size: int, data: ImageTensors) -> Batches:
    """Return gradflow's batches by the paper's recipe."""
    return Batches(data, fit_normalisation("pixel-mean", data), batch_size, 0, padding=4, flip=True)


def gradflow_step(network: str, batch_size: int) -> Step:
    """Return a step as `gradflow train` makes it, its numbers read at once as on a CPU."""
    data, job = images(), Job(0, 1, torch.device("cpu"))
    recipe = resolve(replace(RECIPES["he2016"], batch_size=batch_size), len(data))
    steps = Steps(gradflow.build_model(network, seed=0), batches(batch_size, data), Plan(recipe), job)
    numbers = StepNumbers(job, 20)
    iteration = 0

    def step() -> object:
        nonlocal iteration
        iteration += 1
        steps.make(iteration, numbers)
        return numbers.read()

    return step


def hand_written_step(network: str, batch_size: int) -> Step:
    """Return a hand-written step: channels last, fused optimiser, the same batches, the loss read."""
    data = batches(batch_size, images())
    model = gradflow.build_model(network, seed=0).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    iteration = 0

    def step() -> object:
        nonlocal iteration
        iteration += 1
        inputs, targets = data.at(iteration)
        return _step(model, optimizer, inputs, targets)

    return step


def public_step(network: str, batch_size: int) -> Step:
    """Return the step of public repositories: contiguous, a DataLoader with PIL transforms, plain SGD."""
    model = gradflow.build_model(network, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    loader = forever(public_loader(batch_size))

    def step() -> object:
        return _step(model, optimizer, *next(loader))

    return step


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> float:
    loss = F.cross_entropy(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


class PilImages(Dataset[tuple[Tensor, int]]):
    """The images as torchvision's CIFAR10 offers them: an array, made a PIL image, transformed."""

    def __init__(self) -> None:
        data = images()
        self._arrays, self._targets = data.pixels.numpy(), data.targets.tolist()
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            ]
        )

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._arrays[index])), self._targets[index]


def public_loader(batch_size: int, workers: int = 0) -> DataLoader[tuple[Tensor, int]]:
    """Return the usual DataLoader."""
    return DataLoader(
        PilImages(),
        batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )


def forever(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of epoch after epoch."""
    while True:
        yield from loader  # type: ignore[misc] # the loader stacks what the data set returns
