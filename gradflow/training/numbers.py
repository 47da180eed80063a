"""Numbers of every step, collected on the device: reading each at once would stop it each time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradflow.misclassification import misclassified
from gradflow.training.job import Job

Row = dict[str, Any]

COLUMNS = ("loss", "error", "param_grad_norm")


class StepNumbers:
    """Loss, error and gradient norm of the steps since the last reading.

    Args:
        job: loss and error are averaged over its processes; the norm is the same in all.
        capacity: steps between two readings at most.
    """

    def __init__(self, job: Job, capacity: int) -> None:
        self._job = job
        self._held = torch.zeros(capacity, len(COLUMNS), device=job.device)
        self._steps: list[tuple[int, float]] = []

    def begin(self, iteration: int, learning_rate: float) -> None:
        """Begin a step."""
        self._steps.append((iteration, learning_rate))
        self._held[len(self._steps) - 1].zero_()

    def add(self, loss: Tensor, outputs: Tensor, targets: Tensor, parts: int) -> None:
        """Add one of `parts` equal parts of the step's batch."""
        row = self._held[len(self._steps) - 1]
        row[0] += loss.detach() / parts
        row[1] += misclassified(outputs.detach(), targets).float().mean() / parts

    def finish(self, gradient_norm: Tensor) -> Tensor:
        """Finish a step; return 1 if its gradient is not finite, else 0, on the device.

        The gradient is the same in all processes, so all come to the same conclusion; a loss that
        is not finite has no finite gradient.
        """
        self._held[len(self._steps) - 1, 2] = gradient_norm
        return (~torch.isfinite(gradient_norm)).float()

    def read(self) -> list[Row]:
        """Return the rows of the record's `steps` since the last reading: one copy from the device."""
        if not self._steps:
            return []
        held = self._held[: len(self._steps)].clone()
        norms = held[:, 2].clone()
        held = self._job.mean(held)
        held[:, 2] = norms  # of the averaged gradient: already the whole job's
        rows = [
            {
                "iteration": iteration,
                "learning_rate": learning_rate,
                **dict(zip(COLUMNS, values, strict=True)),
            }
            for (iteration, learning_rate), values in zip(self._steps, held.tolist(), strict=True)
        ]
        self._steps.clear()
        return rows


def is_finite(row: Row) -> bool:
    """Whether a step's loss and gradient are finite."""
    return all(math.isfinite(row[column]) for column in COLUMNS)


def with_nulls(row: Row) -> Row:
    """Return a step's row as a record has it: null where a number is not finite."""
    return {key: value if math.isfinite(value) else None for key, value in row.items()}
