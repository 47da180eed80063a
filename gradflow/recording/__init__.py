"""Measuring inside somebody's own training loop, at a cadence."""

from gradflow.recording.recorder import Logger, Recorder

__all__ = ["Logger", "Recorder"]
