"""Equation 9: the asymmetric writing of a pre-activation network computes the same.

x_{l+1} = x_l + F(f̂(x_l)): the activation stands behind the addition and acts on the branch of
the next unit alone. The network is built again in that writing on the same weights, run on the
same batch, and its outputs and gradients are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.equations.sums import Residual
from gradflow.equations.verdicts import NOT_COMPARABLE, Verdict
from gradflow.models import ResidualNetwork
from gradflow.models.asymmetric import AsymmetricNetwork, has_asymmetric_writing
from gradflow.probing import BatchNormMode, Loss
from gradflow.probing.capture import Capture
from gradflow.probing.traced import traced_forward
from gradflow.tolerances import same_network
from gradflow.units import Inputs
from gradflow.units.calling import map_tensors
from gradflow.units.tracing import Bystander


@dataclass(frozen=True, eq=False)
class Original:
    """What the other writing is compared with.

    Attributes:
        units: how many there are.
        outputs: what the network put out, without its graph.
        gradients: of the parameters that need one and of the inputs.
    """

    units: int
    outputs: Any
    gradients: tuple[Tensor | None, ...]

    @classmethod
    def of(cls, capture: Capture) -> Original:
        """Return what a capture knows of it, so that the capture may be let go of."""
        outputs = map_tensors(capture.outputs, Tensor.detach)
        return cls(len(capture.units), outputs, capture.leaf_gradients)


def asymmetric_writing(
    model: nn.Module,
    original: Original,
    inputs: Inputs,
    targets: Any,
    *,
    loss: Loss | None,
    bn: BatchNormMode,
    dtype: str,
) -> Iterator[Verdict]:
    """Yield the verdicts on outputs and gradients of `model` in the asymmetric writing.

    Args:
        model: the network that was captured.
        original: its outputs and gradients.
        inputs: as for `check`.
        targets: as for `check`.
        loss: as for `check`.
        bn: as for `check`.
        dtype: name of the dtype in which the passes ran.
    """
    span = 0, original.units
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    reduction = max((weight.numel() // min(weight.shape[:2]) for weight in weights), default=1)
    tolerance = same_network(dtype, max(1, len(weights)), reduction)
    if not has_asymmetric_writing(model):
        reason = "the asymmetric writing is made of the zoo's pre-activation networks"
        yield Verdict("9", "outputs", span, 0, None, tolerance, [reason], "it is not evaluated")
        return
    assert isinstance(model, ResidualNetwork)
    outputs, gradients = _run(AsymmetricNetwork(model), model, inputs, targets, loss=loss, bn=bn)
    pairs: dict[str, list[tuple[Any, Any]]] = {
        "outputs": [(original.outputs, outputs)],
        "gradients": list(zip(original.gradients, gradients, strict=True)),
    }
    for form, compared in pairs.items():
        yield Verdict("9", form, span, 0, _worst(compared), tolerance, (), NOT_COMPARABLE)


def _run(
    rewritten: nn.Module,
    model: nn.Module,
    inputs: Inputs,
    targets: Any,
    *,
    loss: Loss | None,
    bn: BatchNormMode,
) -> tuple[Tensor, Sequence[Tensor | None]]:
    """Return what the rewritten network puts out, and its gradients in the model's own order."""
    with traced_forward(
        rewritten, inputs, targets, Bystander(), loss=loss, bn=bn, units=None, keep_outputs=True
    ) as forward:
        forward.tracer.forget_graph()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(forward.value, [*parameters, *forward.leaves], allow_unused=True)
        return forward.outputs, gradients


def _worst(pairs: Sequence[tuple[Tensor | None, Tensor | None]]) -> Residual | None:
    """Return the residuals of all pairs of tensors, each beside its own size."""
    norms, scales, smallest = [], [], []
    for first, second in pairs:
        if first is None and second is None:
            continue
        if first is None or second is None or first.shape != second.shape:
            return None
        one, other = first.detach().double(), second.detach().double()
        norms.append(float((one - other).norm()))
        scales.append(float(one.norm() + other.norm()))
        smallest.append(float(one.norm()))
    return Residual(np.array(norms), np.array(scales), np.array([size or np.inf for size in smallest]))
