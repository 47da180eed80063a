"""Equation 9: the asymmetric writing of a pre-activation network computes the same.

x_{l+1} = x_l + F(f̂(x_l)): the activation stands behind the addition and acts on the branch of
the next unit alone. The network is built again in that writing on the same weights, run on the
same batch, and its outputs and gradients are compared, each tensor beside its own norm.

With a gate the two writings add up the gradient of x_l in another order, so they differ by rounding. Where
the contributions to a weight's gradient cancel (a gate's bias before a normalisation that does not see it,
for instance), what rounding left is small beside them and not beside their sum. A tensor whose difference
exceeds what its own norm explains is therefore held to what enters it (`contributions`), which is
larger; the others need no such measurement, for beside what enters them they are closer still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradflow.equations.contributions import contribution_norms
from gradflow.equations.residuals import Residual
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
    opened = partial(
        traced_forward, AsymmetricNetwork(model), inputs, targets, Bystander(), loss=loss, bn=bn, units=None
    )
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with opened(keep_outputs=True) as forward:
        forward.tracer.forget_graph()
        gradients = torch.autograd.grad(forward.value, [*parameters, *forward.leaves], allow_unused=True)
        outputs = _compared([(original.outputs, forward.outputs)])
    yield Verdict("9", "outputs", span, 0, outputs, tolerance, (), NOT_COMPARABLE)
    compared = _compared(list(zip(original.gradients, gradients, strict=True)))
    if compared.finite:
        beyond = np.flatnonzero(compared.norm > tolerance * compared.scale)
        doubtful = [int(index) for index in beyond if index < len(parameters)]
        if doubtful:
            with opened() as forward:
                forward.tracer.forget_graph()
                entering = contribution_norms(forward.value, [parameters[index] for index in doubtful])
            # Of both writings: two sums of the same contributions are compared.
            scale = compared.scale.copy()
            scale[doubtful] = np.maximum(scale[doubtful], 2 * np.array(entering))
            compared = replace(compared, scale=scale)
    yield Verdict("9", "gradients", span, 0, compared, tolerance, (), NOT_COMPARABLE)


def _compared(pairs: Sequence[tuple[Tensor | None, Tensor | None]]) -> Residual:
    """Return the residuals of all pairs of tensors, each beside its own size; 0 for a pair of none.

    None is no gradient: one that only one of the writings has is off by all of it, as are tensors of two
    shapes.
    """
    norms: list[float] = []
    scales: list[float] = []
    smallest: list[float] = []
    for first, second in pairs:
        one, other = (None if tensor is None else tensor.detach().double() for tensor in (first, second))
        size, beside = (0.0 if tensor is None else float(tensor.norm()) for tensor in (one, other))
        if one is not None and other is not None and one.shape == other.shape:
            norms.append(float((one - other).norm()))
        else:
            norms.append(size + beside)
        scales.append(size + beside)
        smallest.append(size or np.inf)
    return Residual(np.array(norms), np.array(scales), np.array(smallest))
