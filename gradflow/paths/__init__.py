"""A residual network as a collection of paths (Veit et al. 2016, arXiv:1605.06431).

Which paths the gradient comes through, by their length, and how much the network misses units
that are left out or exchanged.
"""

from gradflow.paths.lengths import path_gradients
from gradflow.paths.lesions import lesion

__all__ = ["lesion", "path_gradients"]
