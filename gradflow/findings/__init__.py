"""What a record's numbers mean: sentences with their evidence, and limits that they are held to. No torch."""

from __future__ import annotations

from gradflow.findings.flow import describe_flow
from gradflow.findings.limits import QUANTITIES, Limit, read_limits
from gradflow.findings.measured import Measured, Row
from gradflow.findings.nonfinite import describe_nonfinite, locate_nonfinite
from gradflow.findings.outliers import BROKEN, GROWS, SHRINKS, find_outliers
from gradflow.findings.troubles import describe_troubles
from gradflow.findings.violations import Violation, describe_violations, find_violations
from gradflow.record import Record

__all__ = [
    "BROKEN",
    "GROWS",
    "QUANTITIES",
    "SHRINKS",
    "Limit",
    "Measured",
    "Row",
    "Violation",
    "describe_flow",
    "describe_nonfinite",
    "describe_troubles",
    "describe_violations",
    "find_outliers",
    "find_violations",
    "findings",
    "locate_nonfinite",
    "read_limits",
]


def findings(record: Record) -> list[str]:
    """Return what a record says about its network in plain words, each sentence with its evidence.

    Args:
        record: with a row a unit; of several iterations the last is described.
    """
    measured = Measured.of(record)
    sentences = [*describe_flow(measured), *describe_troubles(measured), *describe_nonfinite(record)]
    return sentences or ["Nothing was finite, so there is nothing to say."]
