"""What a training run is, and who is told about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from gradflow.errors import TrainingError
from gradflow.record import Record
from gradflow.training.numbers import Row
from gradflow.training.recipes import Recipe

OnStep = Callable[[int, nn.Module], Record | None]
"""Called with the steps done and the network, before the first and after every step, in process 0.

It may measure the network but must leave it as it was; a record that it returns is stacked into
the run's.
"""

Locate = Callable[[nn.Module, Tensor, Tensor], str]
"""Says in words where numbers first stop being finite: called with network, images and targets."""


class Watcher(Protocol):
    """Is told in process 0 how a run goes."""

    def started(self, iteration: int, length: int) -> None:
        """Steps begin after `iteration` of `length`."""

    def stepped(self, rows: Sequence[Row]) -> None:
        """Steps were made: their rows of the record's `steps`."""

    def tested(self, iteration: int, loss: float, error: float) -> None:
        """The test data were run after `iteration`."""

    def measured(self, iteration: int, record: Record) -> None:
        """`on_step` returned a record."""

    def saved(self, iteration: int) -> None:
        """A checkpoint was written."""

    def ended(self) -> None:
        """The run ended, or failed: nothing more will be told."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that makes a run what it is; a run is resumed only with the same.

    Attributes:
        recipe: resolved.
        seed: of the data's order, crops and mirror images, and of what the network draws.
        test_every: iterations between runs of the test data; the last iteration has one, too.
        checkpoint_every: iterations between checkpoints.
        details: what else must be the same on resume, in plain values: model, cadences, …
    """

    recipe: Recipe
    seed: int = 0
    test_every: int = 1_000
    checkpoint_every: int = 1_000
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.test_every < 1 or self.checkpoint_every < 1:
            raise TrainingError("test_every and checkpoint_every count iterations; expected at least 1")
        if self.recipe.unit != "iterations" or self.recipe.scales:
            raise TrainingError(
                f"recipe {self.recipe.name} is not resolved; call resolve(recipe, images) first"
            )

    def identity(self, processes: int) -> dict[str, Any]:
        """Return what a checkpoint says of the run of so many processes, in plain values."""
        return {
            **self.details,
            **{
                key.replace("_", "-"): value
                for key, value in self.recipe.to_dict().items()
                if key != "source"
            },
            "seed": self.seed,
            "test-every": self.test_every,
            "processes": processes,
        }


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        out: its directory.
        iteration: steps done.
        finished: whether they are all.
        test_error: of the last test; None if there was none.
        best_error: of the best.
    """

    out: Path
    iteration: int
    finished: bool
    test_error: float | None
    best_error: float | None
