"""Batches that a user's own function makes: any inputs, any targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from torch import Tensor

from gradflow.data.source import Batch, DataSource, Split
from gradflow.determinism import seeded
from gradflow.errors import DataError
from gradflow.importing import call_with, describe, import_object


class CustomBatches(DataSource):
    """What `package.module:callable` returns: an iterable of (inputs, targets).

    The callable may be a function that returns a list or a `DataLoader`, a generator function,
    or an iterable itself. It is given those of `split`, `batch_size`, `seed`, `input_shape` and
    `num_classes` that its signature names, and its random numbers start at the seed.

    Args:
        spec: `package.module:callable`.
        split: `train` or `test`.
        seed: of all random states while the batches are made.
        offered: further keyword arguments for the callable.

    Raises:
        DataError: if there is no such callable.
    """

    def __init__(self, spec: str, split: Split, seed: int, **offered: Any) -> None:
        self.name = spec
        self.split = split
        self.classes = None
        self.normalisation = {"kind": "the callable's own"}
        self._seed = seed
        self._offered = {"split": split, "seed": seed, **offered}
        self._made_by = import_object(spec, DataError)
        if not callable(self._made_by) and not isinstance(self._made_by, Iterable):
            raise DataError(
                f"'{spec}' is of type {type(self._made_by).__name__}; "
                "expected a callable that returns batches of (inputs, targets)"
            )

    def batches(self, count: int) -> Iterator[Batch]:
        """Yield the first `count` batches that the callable makes.

        They are all made before the first is yielded, because what the caller does in between
        must not change the random numbers of the later ones.

        Raises:
            DataError: if it fails, or makes too few, or something else than batches.
        """
        if count < 1:
            raise DataError(f"{count} batches were asked for; expected at least 1")
        with seeded(self._seed):
            try:
                made = list(islice(iter(self._iterable()), count))
            except DataError:
                raise
            except Exception as failure:
                raise DataError(f"'{self.name}' failed: {describe(failure)}") from failure
        if len(made) < count:
            raise DataError(
                f"'{self.name}' made {len(made)} batches, {count} were asked for; lower --batches"
            )
        for index, batch in enumerate(made):
            self._check(index, batch)
        yield from ((inputs, targets) for inputs, targets in made)

    def _iterable(self) -> Iterable[Any]:
        """Return the batches; a callable that returns a callable is called once more.

        Raises:
            DataError: if there is nothing to iterate over.
        """
        value = self._made_by
        for _ in range(2):
            if isinstance(value, Iterable) and not isinstance(value, type):
                break
            if callable(value):
                value = call_with(value, **self._offered)
        if not isinstance(value, Iterable) or isinstance(value, Tensor | dict):
            raise DataError(
                f"'{self.name}' returned {type(value).__name__}; expected batches: "
                "an iterable of (inputs, targets)"
            )
        return value

    def _check(self, index: int, batch: Any) -> None:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise DataError(
                f"'{self.name}': batch {index} is of type {type(batch).__name__}; expected (inputs, targets) "
                "each, targets being None where the model makes its own loss; put a single batch in a list"
            )
        if not isinstance(batch[0], Tensor | tuple | list | dict):
            raise DataError(
                f"'{self.name}': inputs of batch {index} are of type {type(batch[0]).__name__}; expected a "
                "tensor, or a tuple or dict of the model's arguments"
            )
