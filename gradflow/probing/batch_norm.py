"""The three ways in which a probe may run batch normalisation.

- ``batch``: training statistics. The samples of a batch are coupled, so only statements
  about the whole batch are exact.
- ``running``: evaluation mode, with the statistics that training left behind.
- ``frozen``: this batch's own statistics, held constant in the backward pass, so that
  statements about single samples hold on untrained networks too, whose running statistics
  (0 and 1) are no normalisation at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointError

from gradflow.errors import ProbeError
from gradflow.units.submodules import Modules, submodules

BatchNormMode = Literal["batch", "running", "frozen"]
MODES: tuple[BatchNormMode, ...] = ("batch", "running", "frozen")


class _Replacing(TorchFunctionMode):
    """Runs other functions in place of torch's, and does nothing else."""

    def __init__(self, overrides: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self._overrides = overrides

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, or what takes its place."""
        return self._overrides.get(func, func)(*args, **(kwargs or {}))


class BatchNormHandling:
    """Sets a model's mode, and takes the place of `F.batch_norm` during the forward pass.

    Attributes:
        samples_coupled: whether statistics of the batch went into the gradient.
    """

    def __init__(self, mode: BatchNormMode) -> None:
        if mode not in MODES:
            raise ProbeError(f"bn must be one of {', '.join(MODES)}, not {mode!r}")
        self.mode = mode
        self.samples_coupled = False

    def prepare(self, model: nn.Module, modules: Modules | None = None) -> None:
        """Put `model` into the mode that goes with it: evaluation for ``running``, else training.

        Args:
            model: the network.
            modules: its `submodules`, if somebody has asked for them.
        """
        training = self.mode != "running"
        if any(module.training is not training for _, module in modules or submodules(model)):
            model.train(training)

    @property
    def overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """What to run in place of torch's own functions."""
        return {F.batch_norm: self._batch_norm}

    def admits(self, module: _BatchNorm) -> bool:
        """Take notice of a module that is about to normalise; return whether it is to do so as torch does."""
        batch_statistics = module.training or (module.running_mean is None and module.running_var is None)
        if batch_statistics and self.mode == "frozen":
            return False
        self.samples_coupled = self.samples_coupled or batch_statistics
        return True

    def replacing(self) -> AbstractContextManager[object]:
        """Return a context in which frozen batch normalisation takes the place of torch's own.

        In the other modes torch's own is what is wanted, and nothing is replaced.
        """
        return _Replacing(self.overrides) if self.mode == "frozen" else nullcontext()

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Run a backward pass inside; explain what frozen statistics do to checkpointed parts.

        Raises:
            ProbeError: if a part of the forward pass is run again with other batch statistics.
        """
        try:
            yield
        except CheckpointError as error:
            remedy = "use bn='batch' or bn='running', or switch" if self.mode == "frozen" else "switch"
            raise ProbeError(
                "activation checkpointing runs part of the forward pass again in the backward pass, and "
                f"with bn='{self.mode}' that came out differently; {remedy} checkpointing off"
            ) from error

    def _batch_norm(
        self,
        input: Tensor,  # noqa: A002 - the name that torch passes it by
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if training and self.mode == "frozen":
            with torch.no_grad():
                dimensions = [dimension for dimension in range(input.ndim) if dimension != 1]
                wide = input.detach().double() if input.dtype == torch.float64 else input.detach().float()
                variance, mean = torch.var_mean(wide, dimensions, correction=0)
            return F.batch_norm(input, mean, variance, weight, bias, False, momentum, eps)
        self.samples_coupled = self.samples_coupled or training
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
