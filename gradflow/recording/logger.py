"""What a recorder tells of its measurements as they come."""

from __future__ import annotations

from typing import Protocol

from gradflow.record import Record


class Logger(Protocol):
    """What is told of each measurement as it comes; in a job of several processes in process 0 only."""

    def measured(self, iteration: int, record: Record) -> None:
        """Take the record of one measured step."""

    def close(self) -> None:
        """Write out what is held; nothing comes after it."""
