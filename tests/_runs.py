"""A training run that takes a second: a small network on few small images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

import gradflow
from gradflow.training import RECIPES, ImageTensors, Outcome, Plan, Recipe, resolve, train

CLASSES = 4


def some_images(count: int = 60, seed: int = 0, size: int = 8) -> ImageTensors:
    """Return random images whose mean tells their class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(CLASSES, (count,), generator=generator)
    noise = torch.randint(0, 120, (count, size, size, 3), generator=generator)
    pixels = (noise + 30 * targets[:, None, None, None]).to(torch.uint8)
    return ImageTensors("some images", pixels, targets, CLASSES)


def small_model(seed: int = 0) -> nn.Module:
    """Return a pre-activation network of three units."""
    return gradflow.build_model("preact8", width=4, num_classes=CLASSES, seed=seed)


def short_recipe(**overrides: Any) -> Recipe:
    """Return 12 iterations of 8 images with warm-up, drops, crops and mirror images."""
    recipe = replace(RECIPES["he2016"], batch_size=8, padding=2)
    chosen = {"iterations": 12, "warmup": 2, "drops": (6, 9)} | overrides
    return resolve(recipe, 60, **chosen)


def short_plan(**overrides: Any) -> Plan:
    """Return a plan of that recipe, tested and saved every four iterations."""
    return Plan(short_recipe(**overrides), seed=3, test_every=4, checkpoint_every=4)


def run(out: Path, plan: Plan | None = None, **options: Any) -> tuple[nn.Module, Outcome]:
    """Train the small network; return it, and how the run ended."""
    model = options.pop("model", None) or small_model()
    images, test = some_images(), some_images(20, seed=1)
    return model, train(model, images, test, plan or short_plan(), out, **options)


def same_bits(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks have the same weights and buffers, bit for bit."""
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def write_images(folder: Path, size: int = 8, seed: int = 0) -> Path:
    """Write those images into `folder`, as train/<class>/<number>.png and test/<class>/<number>.png."""
    for split, images in (
        ("train", some_images(seed=seed, size=size)),
        ("test", some_images(20, seed=seed + 1, size=size)),
    ):
        for index, (pixels, target) in enumerate(zip(images.pixels, images.targets.tolist(), strict=True)):
            place = folder / split / f"class {target}" / f"{index}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.numpy()).save(place)
    return folder
