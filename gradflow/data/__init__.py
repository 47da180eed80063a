"""Data to measure on: generated images, CIFAR, image folders, and a user's own batches."""

from gradflow.data.opening import open_data
from gradflow.data.source import Batch, DataSource, ImageSet, Split

__all__ = ["Batch", "DataSource", "ImageSet", "Split", "open_data"]
