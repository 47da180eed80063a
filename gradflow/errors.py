"""Every exception that gradflow raises on purpose.

All of them derive from `GradflowError`, so that ``except gradflow.GradflowError``
catches what the library refuses and nothing else. The command line turns each of
them into one line on standard error and exit status 2. Messages say what was
expected, what came, where, and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class GradflowError(Exception):
    """Base of all errors that gradflow raises on purpose."""


class UnknownModelError(GradflowError):
    """A model specification names no network that can be built."""


class CheckpointError(GradflowError):
    """A checkpoint is missing, damaged, unsafe to load, or of another network."""


class DataError(GradflowError):
    """A data source is missing, empty, damaged, or does not fit the model."""


class NoResidualUnitError(GradflowError):
    """A model has no residual unit, and none was named.

    Attributes:
        passed_over: the additions that were seen, and why each is no unit's
            (`gradflow.units.PassedOver`).
    """

    def __init__(self, message: str, passed_over: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.passed_over = passed_over


class ProbeError(GradflowError):
    """A measurement cannot be made on this model, input or loss."""


class TrainingError(GradflowError):
    """A training run cannot be started, resumed or carried on."""


class DivergedError(TrainingError):
    """Loss or gradient stopped being finite: the same in every process of a job."""


class RecordError(GradflowError):
    """A record cannot be read or written."""


class IncompleteReportError(RecordError):
    """A report was made, but some of what was asked for could not be shown; `page` is where it is."""

    def __init__(self, page: Path, problems: Sequence[str]) -> None:
        self.page = page
        super().__init__(f"{'; '.join(problems)}; the page says so, and shows the rest")


class InstallationError(GradflowError):
    """An installed dependency cannot work as installed."""


class ComparisonError(GradflowError):
    """Two records cannot be compared number by number."""


class LimitError(GradflowError):
    """A limit on the gradient flow says nothing, or nothing about this network."""
