"""Jacobians as scipy sees matrices: products with vectors, and no elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from gradflow.errors import ProbeError
from gradflow.probing.linearised import Linearised, LinearMap

Vector = NDArray[Any]


class JacobianOperator(LinearOperator):  # type: ignore[misc] # scipy ships no types
    """A Jacobian J; ``J @ v`` is a Jacobian-vector product, ``J.T @ w`` a vector-Jacobian product.

    A vector holds the elements of a tensor in the tensor's own order of dimensions, samples
    first, whatever its layout in memory.

    Args:
        products: the two products, on tensors.
        sample: restricts J to the block of one sample, which is all that depends on it.
    """

    def __init__(self, products: LinearMap, sample: int | None = None) -> None:
        self._products = products
        self._sample = sample
        self._inputs = products.input_shape if sample is None else products.input_shape[1:]
        self._outputs = products.output_shape if sample is None else products.output_shape[1:]
        single = products.dtype != torch.float64  # numpy has no bfloat16
        super().__init__(
            np.dtype(np.float32 if single else np.float64), (self._outputs.numel(), self._inputs.numel())
        )

    def _matvec(self, v: Vector) -> Vector:
        return self._flat(self._products.jvp(self._tensor(v, self._inputs, self._products.input_shape)))

    def _rmatvec(self, w: Vector) -> Vector:
        return self._flat(self._products.vjp(self._tensor(w, self._outputs, self._products.output_shape)))

    def _tensor(self, vector: Vector, shape: torch.Size, whole: torch.Size) -> Tensor:
        """Return `vector` as a tensor; of a sample's block, with zeros for all other samples."""
        values = torch.from_numpy(np.ascontiguousarray(vector, dtype=self.dtype)).reshape(shape)
        values = values.to(dtype=self._products.dtype, device=self._products.device)
        if self._sample is None:
            return values
        tensor = values.new_zeros(whole)
        tensor[self._sample] = values
        return tensor

    def _flat(self, tensor: Tensor) -> Vector:
        tensor = tensor if self._sample is None else tensor[self._sample]
        flat = tensor.detach().reshape(-1).cpu()
        return np.asarray(flat.numpy() if flat.dtype == torch.float64 else flat.float().numpy())


def branch_jacobian(network: Linearised, unit: int, *, sample: int | None = None) -> JacobianOperator:
    """Return ∂F/∂x_l of unit l = `unit`, of shape (elements of F(x_l), elements of x_l).

    Args:
        network: a forward pass, still open.
        unit: l.
        sample: only the block of this sample of the batch; None takes the whole batch.

    Raises:
        ProbeError: if there is no such unit or sample, or batch statistics couple the samples.
    """
    return _operator(network, network.branch(unit), sample)


def span_jacobian(
    network: Linearised, start: int, end: int, *, sample: int | None = None
) -> JacobianOperator:
    """Return ∂x_L/∂x_l for l = `start` and L = `end`, of shape (elements of x_L, elements of x_l).

    Args:
        network: a forward pass, still open.
        start: l.
        end: L; the number of units stands for what follows the last one's addition.
        sample: only the block of this sample of the batch; None takes the whole batch.

    Raises:
        ProbeError: if there is no such span or sample, or batch statistics couple the samples.
    """
    return _operator(network, network.span(start, end), sample)


def _operator(network: Linearised, products: LinearMap, sample: int | None) -> JacobianOperator:
    if sample is not None:
        if network.samples_coupled:
            raise ProbeError(
                "batch statistics couple the samples, so none has a Jacobian of its own; "
                "take bn='frozen' or bn='running'"
            )
        batch = products.input_shape[0]
        if not 0 <= sample < batch or products.output_shape[0] != batch:
            raise ProbeError(f"there is no sample {sample}: the batch has samples 0 to {batch - 1}")
    return JacobianOperator(products, sample)
