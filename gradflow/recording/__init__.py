"""Measuring inside somebody's own training loop, at a cadence."""

from gradflow.recording.logger import Logger
from gradflow.recording.recorder import Recorder

__all__ = ["Logger", "Recorder"]
