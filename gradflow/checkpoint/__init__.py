"""Checkpoints: reading them safely, and loading them into a model."""

from gradflow.checkpoint.fitting import load_into
from gradflow.checkpoint.reading import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "load_into"]
