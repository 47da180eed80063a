"""The derivatives of one forward pass as pairs of products, without a matrix.

A vector-Jacobian product is a backward pass between two places of the kept graph. A
Jacobian-vector product comes from the same: Jᵀu is linear in u, so the vector-Jacobian
product of u ↦ Jᵀu with v is Jv, one backward pass through the backward pass. This takes no
rule of its own for any layer, and works between any two places that the tracer has found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradflow.determinism import full_precision
from gradflow.errors import ProbeError
from gradflow.probing.batch_norm import BatchNormHandling, BatchNormMode
from gradflow.probing.traced import traced_forward
from gradflow.units import Inputs, UnitSelection
from gradflow.units.calling import map_tensors
from gradflow.units.eager import eager
from gradflow.units.finding import stages
from gradflow.units.graph import Port
from gradflow.units.tracing import Bystander, TracedUnit


class LinearMap:
    """J = ∂output/∂input between two places of a forward pass; valid while its graph is.

    Args:
        output: where the values come from.
        factor: what they are multiplied by.
        origin: where the values that they depend on come from.
        handling: how batch normalisation ran.
    """

    def __init__(self, output: Port, factor: float, origin: Port, handling: BatchNormHandling) -> None:
        self._output = GradientEdge(output.node, output.output)
        self._origin = GradientEdge(origin.node, origin.output)
        self._factor = factor
        self._handling = handling
        self._transposed: tuple[Tensor, Tensor] | None = None
        self.output_shape = output.shape
        self.input_shape = origin.shape
        metadata = origin.node._input_metadata[origin.output]  # noqa: SLF001 - documented on Node
        self.dtype: torch.dtype = metadata.dtype
        self.device: torch.device = metadata.device

    def vjp(self, cotangent: Tensor) -> Tensor:
        """Return Jᵀu.

        Args:
            cotangent: u, of the output's shape.

        Returns:
            a tensor of the input's shape.
        """
        return self._backward(cotangent * self._factor, create_graph=False)

    def jvp(self, tangent: Tensor) -> Tensor:
        """Return Jv; the first call runs the backward pass that this and all later ones go through.

        Args:
            tangent: v, of the input's shape.

        Returns:
            a tensor of the output's shape.

        Raises:
            ProbeError: if an operation on the way cannot be differentiated twice.
        """
        if self._transposed is None:
            # Linear in u, so any u will do: the derivative is the same at 0.
            at = torch.zeros(self.output_shape, dtype=self.dtype, device=self.device, requires_grad=True)
            self._transposed = at, self._backward(at * self._factor, create_graph=True)
        at, transposed = self._transposed
        if transposed.grad_fn is None:
            raise ProbeError("the branch's backward pass has no derivative: an operation on its way hides it")
        with _twice():
            (product,) = torch.autograd.grad([transposed], [at], [tangent], retain_graph=True)
        return product

    def _backward(self, cotangent: Tensor, *, create_graph: bool) -> Tensor:
        with self._handling.recomputing(), _twice():
            (product,) = torch.autograd.grad(
                [self._output], [self._origin], [cotangent], retain_graph=True, create_graph=create_graph
            )
        return product


@dataclass(eq=False)
class Linearised:
    """A forward pass that can be differentiated between any two of its units; valid inside `linearised`.

    Attributes:
        units: the units, in order of execution.
        stages: the stage of each.
        handling: how batch normalisation ran.
    """

    units: list[TracedUnit]
    stages: list[int]
    handling: BatchNormHandling

    @property
    def samples_coupled(self) -> bool:
        """Whether batch statistics couple the samples, so that only the whole batch has a Jacobian."""
        return self.handling.samples_coupled

    def branch(self, index: int) -> LinearMap:
        """Return ∂F/∂x_l of unit l = `index`.

        Raises:
            ProbeError: if there is no such unit.
        """
        if not 0 <= index < len(self.units):
            raise ProbeError(f"there is no unit {index}: the network has units 0 to {len(self.units) - 1}")
        unit = self.units[index]
        return LinearMap(*unit.branch_output, unit.fork, self.handling)

    def span(self, start: int, end: int) -> LinearMap:
        """Return ∂x_L/∂x_l for l = `start` and L = `end`, whatever units lie between.

        Raises:
            ProbeError: if there is no such span.
        """
        if not 0 <= start < end <= len(self.units):
            raise ProbeError(
                f"there is no span {start}-{end}: expected l-L with 0 ≤ l < L ≤ {len(self.units)}"
            )
        return LinearMap(self.units[end - 1].out, 1.0, self.units[start].fork, self.handling)


@contextmanager
def linearised(
    model: nn.Module, inputs: Inputs, *, bn: BatchNormMode = "frozen", units: UnitSelection | None = None
) -> Iterator[Linearised]:
    """Run `model` on `inputs` and keep the graph while the context is open.

    Fused attention can be differentiated only once, so attention runs by its plain formula
    here. The model is left as it was when the context closes, also after an exception.

    Args:
        model: any network.
        inputs: as for `probe`.
        bn: as for `probe`; in `batch` mode the Jacobian is of the whole batch, in the others
            it has one block a sample.
        units: as for `probe`.
    """
    with (
        full_precision(),
        sdpa_kernel(SDPBackend.MATH),
        traced_forward(
            eager(model), inputs, None, Bystander(), loss=_sum_of_outputs, bn=bn, units=units
        ) as forward,
    ):
        found = forward.tracer.units
        forward.tracer.forget_graph()
        yield Linearised(found, stages(found), forward.handling)


def _sum_of_outputs(outputs: Any) -> Tensor:
    """Return a number that depends on every output; only its graph is of use here.

    Raises:
        ProbeError: if no output has a graph.
    """
    values: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        if value.is_floating_point() and value.requires_grad:
            values.append(value.sum())
        return value

    map_tensors(outputs, keep)
    if not values:
        raise ProbeError("the model returned no tensor that depends on its parameters or inputs")
    return torch.stack(values).sum()


@contextmanager
def _twice() -> Iterator[None]:
    """Say in one line which operation has no second derivative.

    Raises:
        ProbeError: if one has none.
        RuntimeError: any other error passes.
    """
    try:
        yield
    except RuntimeError as error:
        if "not implemented" in str(error) or "once_differentiable" in str(error):
            raise ProbeError(f"a Jacobian-vector product needs second derivatives: {error}") from error
        raise
