"""One step of stochastic gradient descent: forward, backward, the optimiser; nothing is hooked."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from gradflow.training.images import Batches
from gradflow.training.job import Job, without_averaging
from gradflow.training.numbers import StepNumbers
from gradflow.training.plan import Plan
from gradflow.training.precision import working_precision


class Steps:
    """A network and its optimiser, and the steps that they make together.

    Args:
        model: is trained in place, with channels last in memory.
        data: the training batches.
        plan: the run.
        job: this process's place among others.
    """

    def __init__(self, model: nn.Module, data: Batches, plan: Plan, job: Job) -> None:
        self.model = model.to(device=job.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.data = data
        self.job = job
        self._recipe = recipe = plan.recipe
        job.part(recipe.batch_size, recipe.accumulate, 0)  # refuses what cannot be divided
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(
            self._parameters,
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=True,
        )
        replica = job.averaging(self.model)
        self._replica = replica
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(replica) if job.device.type == "cuda" else replica
        )
        # A fused optimiser that finds this above 0 leaves weights and momentum alone. It never goes
        # back, so however late the numbers are read, the weights are those of the first failure.
        self._broken = torch.zeros(1, device=job.device)
        self.optimizer.found_inf = self._broken  # type: ignore[attr-defined] # as torch's own GradScaler does

    def make(self, iteration: int, numbers: StepNumbers) -> None:
        """Make step number `iteration`, counted from 1."""
        recipe = self._recipe
        rate = recipe.learning_rate_at(iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._replica.train()
        numbers.begin(iteration, rate)
        for index in range(recipe.accumulate):
            images, targets = self.part(iteration, index)
            with without_averaging(self._replica, last=index == recipe.accumulate - 1):
                with working_precision(self.job.device):
                    outputs = self._forward(images)
                    loss = F.cross_entropy(outputs.float(), targets)
                (loss / recipe.accumulate).backward()  # type: ignore[no-untyped-call]
            numbers.add(loss, outputs, targets, recipe.accumulate)
        norm = get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        torch.maximum(self._broken, numbers.finish(norm), out=self._broken)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def part(self, iteration: int, index: int) -> tuple[Tensor, Tensor]:
        """Return this process's part number `index` of a batch."""
        part = self.job.part(self._recipe.batch_size, self._recipe.accumulate, index)
        return self.data.at(iteration, part)
