"""Recipes: the paper's numbers, lengths, overrides, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from gradflow.errors import TrainingError
from gradflow.training import RECIPES, find_recipe, resolve


def rates(name: str, images: int = 50_000, **options: object) -> dict[float, tuple[int, int]]:
    """Return each learning rate of a resolved recipe with the first and last iteration that has it."""
    recipe = resolve(find_recipe(name), images, **options)
    found: dict[float, list[int]] = {}
    for iteration in range(1, recipe.length + 1):
        found.setdefault(round(recipe.learning_rate_at(iteration), 9), []).append(iteration)
    return {rate: (at[0], at[-1]) for rate, at in found.items()}


def test_he2016_is_the_papers() -> None:
    """64,000 iterations of 128: warm-up at 0.01 for 400, then 0.1, a tenth of it from 32k and 48k on."""
    recipe = resolve(find_recipe("he2016"), 50_000)
    assert (recipe.length, recipe.batch_size, recipe.momentum, recipe.weight_decay) == (
        64_000,
        128,
        0.9,
        1e-4,
    )
    assert (recipe.padding, recipe.flip, recipe.normalisation, recipe.nesterov) == (
        4,
        True,
        "pixel-mean",
        False,
    )
    assert recipe.learning_rate_at(400) == 0.01
    assert [recipe.learning_rate_at(i) for i in (401, 32_000)] == [0.1, 0.1]
    assert recipe.learning_rate_at(32_001) == pytest.approx(0.01)
    assert recipe.learning_rate_at(48_001) == pytest.approx(0.001)
    assert recipe.learning_rate_at(64_000) == pytest.approx(0.001)


def test_short_recipe_keeps_the_shape() -> None:
    """Compressed to 4,000 iterations, warm-up and drops are at the same shares of the whole."""
    recipe = resolve(find_recipe("he2016-short"), 50_000, iterations=4_000)
    assert (recipe.warmup, recipe.drops, recipe.length) == (25, (2_000, 3_000), 4_000)
    full = resolve(find_recipe("he2016-short"), 50_000, iterations=64_000)
    paper = resolve(find_recipe("he2016"), 50_000)
    assert (full.warmup, full.drops) == (paper.warmup, paper.drops)


def test_torch2016_counts_epochs() -> None:
    """The Lua trainer's 164 epochs, the lower rate from 81 and 122 on, become iterations; no warm-up."""
    recipe = resolve(find_recipe("torch2016"), 50_000)
    epoch = 50_000 / 128
    assert recipe.length == 64_063  # rounded up: 164 × 390.625
    assert recipe.drops == (round(80 * epoch), round(121 * epoch))
    assert (recipe.warmup, recipe.nesterov, recipe.learning_rate_at(1)) == (0, True, 0.1)


def test_length_of_a_recipe_that_does_not_scale() -> None:
    """Fewer iterations of the paper's recipe end it early, with its drops where they were."""
    recipe = resolve(find_recipe("he2016"), 50_000, iterations=1_000)
    assert (recipe.length, recipe.drops, recipe.warmup) == (1_000, (32_000, 48_000), 400)
    assert resolve(find_recipe("he2016"), 1_000, epochs=3, batch_size=100).length == 30


def test_every_field_can_be_overridden() -> None:
    """What is given stands in the resolved recipe, and the named one is as it was."""
    changes = {
        "batch_size": 32,
        "accumulate": 2,
        "learning_rate": 0.2,
        "warmup_learning_rate": 0.05,
        "drop_factor": 0.5,
        "momentum": 0.8,
        "nesterov": True,
        "weight_decay": 5e-4,
        "padding": 2,
        "flip": False,
        "normalisation": "per-channel",
        "warmup": 7,
        "drops": (10, 20),
    }
    before = RECIPES["he2016"]
    recipe = resolve(before, 50_000, iterations=30, **changes)
    for field, value in changes.items():
        assert getattr(recipe, field) == value, field
    untouched = {field.name for field in dataclasses.fields(before)} - set(changes)
    assert untouched == {"name", "source", "length", "unit", "scales"}
    assert before.batch_size == 128


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 3, "epochs": 2}, "give one of them"),
        ({"batch_size": 101}, "larger than the training data, which has 100 images; take --batch-size 100"),
        ({"batch_size": 10, "accumulate": 3}, "cannot be run in 3 equal parts"),
        ({"batch_size": 10, "learning_rate": float("nan")}, "learning_rate is nan"),
        ({"batch_size": 10, "momentum": 0.0, "nesterov": True}, "needs a momentum above 0"),
        ({"batch_size": 10, "normalisation": "none"}, "expected pixel-mean or per-channel"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(options: dict[str, object], message: str) -> None:
    """A recipe that cannot work is refused before anything runs, and the line says why."""
    with pytest.raises(TrainingError, match=message):
        resolve(find_recipe("he2016"), 100, **options)


def test_unknown_recipe() -> None:
    """The line names the recipes, and the one that was probably meant."""
    with pytest.raises(TrainingError, match=r"did you mean 'he2016-short'.*expected one of he2016, "):
        find_recipe("he2016_short")
