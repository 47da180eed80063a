"""Training by a recipe, resumable to the bit, with measurements at a cadence."""

from gradflow.training.images import Batches, ImageTensors, fit_normalisation, read_images
from gradflow.training.job import Job, joined
from gradflow.training.plan import Outcome, Plan, Watcher
from gradflow.training.recipes import RECIPES, Recipe, find_recipe, resolve
from gradflow.training.running import train

__all__ = [
    "RECIPES",
    "Batches",
    "ImageTensors",
    "Job",
    "Outcome",
    "Plan",
    "Recipe",
    "Watcher",
    "find_recipe",
    "fit_normalisation",
    "joined",
    "read_images",
    "resolve",
    "train",
]
