"""Parameters of which each process holds a part (`torch.distributed.fsdp.fully_shard`).

Such a parameter is whole only while its module runs, as another tensor, which is the leaf of the
autograd graph. What an optimiser has is the part, and its gradient is that part's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import torch.distributed as dist
from torch import Tensor, nn

from gradflow.errors import ProbeError
from gradflow.probing.uncopied import UncopiedHook

_SMALL = 1 << 16
"""Elements up to which a whole gradient is kept to compare with; biases and normalisations have fewer."""

_NEAR = 1e-2
"""How near a factor is to a whole number that is taken for it: gradients may be reduced in bfloat16."""


def is_sharded(tensor: Tensor) -> bool:
    """Whether a process holds only a part of `tensor`."""
    if not (dist.is_available() and dist.is_initialized()):
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def part_here(tensor: Tensor) -> Tensor:
    """Return the part of `tensor` that this process holds: all of it, if it is not sharded."""
    if not is_sharded(tensor):
        return tensor
    part: Tensor = tensor.detach().to_local()  # type: ignore[attr-defined] # a DTensor
    return part if part.numel() else part.new_zeros(1)  # there may be fewer elements than processes


def copies(tensor: Tensor, processes: int) -> int:
    """Return how many of the job's processes hold the same part of `tensor`.

    Raises:
        ProbeError: if a process holds a summand of it, and no part.
    """
    if not is_sharded(tensor):
        return processes
    mesh, placements = tensor.device_mesh, tensor.placements  # type: ignore[attr-defined] # a DTensor
    if any(placement.is_partial() for placement in placements):
        raise ProbeError("a parameter is the sum of what the processes hold, which cannot be measured")
    sharded = math.prod(
        mesh.size(dimension) for dimension, placement in enumerate(placements) if placement.is_shard()
    )
    return processes // int(sharded)


class WholeParameters:
    """Learns which tensor is which parameter while the modules run.

    Args:
        model: has been given to `fully_shard`.

    Attributes:
        parts: what the optimiser has, by name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parts: dict[str, Tensor] = dict(model.named_parameters())
        self._whole: dict[str, Tensor] = {}
        self._model = model

    def hooked(self) -> ExitStack:
        """Return a context in which modules tell of their parameters as they begin."""
        stack = ExitStack()
        for prefix, module in self._model.named_modules():
            if module._parameters:  # noqa: SLF001 - named_parameters would go through them twice
                hook = module.register_forward_pre_hook(partial(self._note, f"{prefix}." if prefix else ""))
                stack.callback(UncopiedHook(module, hook).remove)
        return stack

    def named(self) -> dict[str, Tensor]:
        """Return the leaves of the forward pass by name; the part of a parameter that did not run."""
        return {name: self._whole.get(name, part) for name, part in self.parts.items()}

    def wholes_of(self, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the leaves of the forward pass in place of what are parts among `parameters`."""
        names = {id(part): name for name, part in self.parts.items()}
        return tuple(self._whole.get(names.get(id(one), ""), one) for one in parameters)

    def parts_of(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """Return the parts that belong to leaves of the forward pass."""
        names = {id(leaf): name for name, leaf in self.named().items()}
        return [self.parts[names[id(leaf)]] for leaf in leaves]

    def _note(self, prefix: str, module: nn.Module, args: Any) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            if prefix + name in self.parts:
                self._whole[prefix + name] = parameter


def _small(sharded: Sequence[int], parameters: Sequence[Tensor]) -> list[int]:
    """Return which of the sharded parameters have few elements; the one with the fewest, if none has few."""
    by_size = sorted(sharded, key=lambda index: parameters[index].numel())
    return [index for index in by_size if parameters[index].numel() <= _SMALL] or by_size[:1]


class Averaging(Protocol):
    """Averages over the processes of a job."""

    @property
    def size(self) -> int:
        """How many there are."""

    def each(self, value: Any) -> list[Any]:
        """Return every process's `value`, by rank."""

    def mean(self, tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Return the mean over the processes of each tensor."""


class ShardedGradients:
    """Runs a user's backward pass over sharded parameters, and reads the gradients of their parts.

    `fully_shard` is to average gradients over the processes; with gloo it has added them up
    (pytorch#162338), and a user may set another factor. So whole gradients of small parameters are
    averaged beside it, and what the parts have is divided by how much larger they are. It leaves alone what
    it does not shard: parameters outside the modules that it was given, and its `ignored_params`. Their
    gradients are averaged here.

    Args:
        whole: knows the parameters.
        job: all processes.

    Attributes:
        notes: what a reader of the numbers needs to know.
        skipped: what was not measured, and why.
    """

    def __init__(self, whole: WholeParameters, job: Averaging) -> None:
        self.notes: list[str] = []
        self.skipped: list[dict[str, str]] = []
        self._whole = whole
        self._job = job

    def differentiate(
        self, run: Callable[..., Any], parameters: list[Tensor], again: bool
    ) -> Sequence[Tensor | None]:
        """Run the pass and return the gradient of each parameter's part.

        Args:
            run: the pass.
            parameters: whose gradients are wanted, whole.
            again: whether the graph is to be kept.

        Raises:
            ProbeError: if it would have to be kept: the parameters in it are gone after the pass.
        """
        if again:
            raise ProbeError(
                "a unit whose shortcut and branch share a path takes a second backward pass, which is not "
                "possible with fully_shard: parameters are whole only in the first"
            )
        parts = self._whole.parts_of(parameters)
        sharded = [index for index, part in enumerate(parts) if is_sharded(part)]
        others = [index for index, part in enumerate(parts) if not is_sharded(part)]
        accumulated = any(parts[index].grad is not None for index in sharded)
        small = _small(sharded, parameters)
        arrived: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for index in [*small, *others]:
                keep = partial(arrived.__setitem__, index)
                hook = parameters[index].register_hook(keep)  # type: ignore[no-untyped-call] # torch does not annotate it
                stack.callback(hook.remove)
            run()
        found: dict[int, Tensor | None] = dict(
            zip(others, self._job.mean([arrived.get(index) for index in others]), strict=True)
        )
        if sharded:
            whole = [arrived.get(index) for index in small]
            gradients = {index: parts[index].grad for index in sharded}
            found |= self._averaged(gradients, small, whole, accumulated=accumulated)
        return [found[index] for index in range(len(parts))]

    def _averaged(
        self,
        gradients: dict[int, Tensor | None],
        small: Sequence[int],
        whole: Sequence[Tensor | None],
        *,
        accumulated: bool,
    ) -> dict[int, Tensor | None]:
        """Return the gradients of parts of parameters, of the mean of the processes' losses.

        Args:
            gradients: as the pass left them.
            small: those of which this process's gradient of the whole parameter is known.
            whole: it.
            accumulated: whether some were there before the pass.
        """
        if accumulated or all(gradient is None for gradient in gradients.values()):
            why = (
                "with fully_shard a parameter's gradient is known where it is not added to that of an "
                "earlier backward pass, and not kept back by set_requires_gradient_sync(False)"
            )
            self.skipped.append({"what": "gradients of parameters", "why": why})
            return dict.fromkeys(gradients)
        factor = self._factor(whole, [gradients[index] for index in small])
        if factor == 1:
            return gradients
        self.notes.append(
            f"fully_shard gave the optimiser {factor:g} times the gradient of the mean of the processes' "
            "losses (over gloo it adds gradients up: pytorch#162338); the record has that of the mean"
        )
        return {index: None if one is None else one / factor for index, one in gradients.items()}

    def _factor(self, whole: Sequence[Tensor | None], parts: Sequence[Tensor | None]) -> float:
        """Return how many times the mean of the whole gradients the parts are."""
        averaged = sum(float(one.double().square().sum()) for one in self._job.mean(whole) if one is not None)
        here = [
            0.0
            if one is None
            else float(part_here(one).double().square().sum()) / copies(one, self._job.size)
            for one in parts
        ]
        delivered = sum(self._job.each(sum(here)))
        if not (averaged > 0 and delivered > 0 and math.isfinite(averaged) and math.isfinite(delivered)):
            return 1.0
        factor = math.sqrt(delivered / averaged)
        whole_number = max(round(factor), 1)
        return float(whole_number) if abs(factor / whole_number - 1) < _NEAR else factor
