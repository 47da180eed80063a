"""Recipes: everything that a training run is told, as named, frozen configurations.

A recipe is turned into numbers of iterations by `resolved`, once it is known how many images
there are; what a record holds is that resolved recipe, which leaves nothing to defaults.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, Literal

from gradflow.errors import TrainingError

NORMALISATIONS = ("pixel-mean", "per-channel")


@dataclass(frozen=True)
class Recipe:
    """One way of training, by stochastic gradient descent with momentum.

    `iterations`, `warmup` and `drops` count iterations, or epochs where `unit` says so.

    Attributes:
        name: what `--recipe` calls it.
        source: where it is from.
        length: iterations (or epochs) in all.
        drops: after how many of them the learning rate is multiplied by `drop_factor`.
        warmup: for how many of them, at the beginning, it is `warmup_learning_rate`.
        unit: what those three count.
        scales: whether another length compresses warm-up and drops with it.
        batch_size: images an iteration, of all processes together.
        accumulate: parts in which a batch is run one after the other, their gradients averaged.
        learning_rate: between warm-up and the first drop.
        warmup_learning_rate: during warm-up.
        drop_factor: of each drop.
        momentum: of the descent.
        nesterov: whether it is Nesterov's.
        weight_decay: of every parameter.
        padding: zeros around a normalised image, of which a crop of its size is taken.
        flip: whether every second image, at random, is mirrored.
        normalisation: `pixel-mean`, which subtracts the mean of each pixel over the training images, or
            `per-channel`, which subtracts each channel's mean and divides by its standard deviation.
    """

    name: str
    source: str
    length: int
    drops: tuple[int, ...]
    warmup: int = 0
    unit: Literal["iterations", "epochs"] = "iterations"
    scales: bool = False
    batch_size: int = 128
    accumulate: int = 1
    learning_rate: float = 0.1
    warmup_learning_rate: float = 0.01
    drop_factor: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    padding: int = 4
    flip: bool = True
    normalisation: str = "pixel-mean"

    def learning_rate_at(self, iteration: int) -> float:
        """Return the learning rate of iteration number `iteration`, counted from 1; for resolved recipes."""
        if iteration <= self.warmup:
            return self.warmup_learning_rate
        return self.learning_rate * self.drop_factor ** sum(iteration > drop for drop in self.drops)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, as JSON and `torch.load(weights_only=True)` can hold them."""
        return dataclasses.asdict(self) | {"drops": list(self.drops)}


HE2016 = Recipe(
    name="he2016",
    source="He et al. 2016 (arXiv:1603.05027), section 4 and appendix",
    length=64_000,
    drops=(32_000, 48_000),
    warmup=400,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        HE2016,
        dataclasses.replace(
            HE2016,
            name="he2016-short",
            source="the shape of he2016, compressed to fewer iterations",
            scales=True,
        ),
        Recipe(
            name="torch2016",
            source="the authors' Lua trainer (resnet-1k-layers on fb.resnet.torch)",
            length=164,
            drops=(80, 121),  # the trainer counts epochs from 1 and has the lower rate from 81 and 122 on
            unit="epochs",
            nesterov=True,
            normalisation="per-channel",
        ),
    )
}
"""Every recipe, by its name."""

SHORT_LENGTH = 4_000
"""Iterations of a compressed recipe whose length is not said: half an hour for preact20 on two cores."""


def find_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        TrainingError: if there is none.
    """
    if name not in RECIPES:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f" (did you mean '{close[0]}'?)" if close else ""
        raise TrainingError(f"unknown recipe '{name}'{hint}; expected one of {', '.join(RECIPES)}")
    return RECIPES[name]


def resolve(
    recipe: Recipe,
    images: int,
    *,
    iterations: int | None = None,
    epochs: int | None = None,
    **overrides: Any,
) -> Recipe:
    """Return `recipe` with what was overridden, and its length, warm-up and drops in iterations.

    Args:
        recipe: one of `RECIPES`, or one's own.
        images: training images, which make an epoch.
        iterations: another length. A recipe that scales is compressed to it, warm-up and drops
            included; any other ends there and keeps its drops.
        epochs: the same, in epochs.
        overrides: fields of the recipe; `warmup` and `drops` in iterations.

    Raises:
        TrainingError: if the recipe cannot be carried out.
    """
    if iterations is not None and epochs is not None:
        raise TrainingError("iterations and epochs both say how long to train; give one of them")
    drops, warmup = overrides.pop("drops", None), overrides.pop("warmup", None)
    changed = dataclasses.replace(recipe, **overrides)
    _validate(changed, images)
    an_epoch = images / changed.batch_size
    own = an_epoch if recipe.unit == "epochs" else 1.0
    if epochs is not None:
        iterations = math.ceil(epochs * an_epoch)
    if iterations is None and recipe.scales:
        iterations = SHORT_LENGTH
    length = iterations if iterations is not None else math.ceil(recipe.length * own)
    if length < 1:
        raise TrainingError(f"{length} iterations were asked for; expected at least 1")
    scale = length / recipe.length if recipe.scales else own
    return dataclasses.replace(
        changed,
        length=length,
        drops=tuple(drops) if drops is not None else tuple(round(drop * scale) for drop in recipe.drops),
        warmup=warmup if warmup is not None else round(recipe.warmup * scale),
        unit="iterations",
        scales=False,
    )


def _validate(recipe: Recipe, images: int) -> None:
    if recipe.batch_size < 1 or recipe.accumulate < 1:
        raise TrainingError(
            f"batch size {recipe.batch_size} in {recipe.accumulate} parts; expected at least 1 of each"
        )
    if recipe.batch_size > images:
        raise TrainingError(
            f"batch size {recipe.batch_size} is larger than the training data, which has {images} images; "
            f"take --batch-size {images} or less"
        )
    if recipe.batch_size % recipe.accumulate:
        raise TrainingError(
            f"a batch of {recipe.batch_size} cannot be run in {recipe.accumulate} equal parts; "
            "choose --accumulate so that it divides --batch-size"
        )
    for field in ("learning_rate", "warmup_learning_rate", "drop_factor", "momentum", "weight_decay"):
        value = getattr(recipe, field)
        if not (math.isfinite(value) and value >= 0):
            raise TrainingError(f"{field} is {value}; expected a finite number, at least 0")
    if recipe.nesterov and recipe.momentum == 0:
        raise TrainingError("Nesterov's momentum needs a momentum above 0")
    if recipe.padding < 0:
        raise TrainingError(f"padding is {recipe.padding}; expected at least 0")
    if recipe.normalisation not in NORMALISATIONS:
        raise TrainingError(
            f"unknown normalisation '{recipe.normalisation}'; expected {' or '.join(NORMALISATIONS)}"
        )
