"""Norms of many tensors at once: all parameters of a network, and all of their gradients.

Most of them are so small that a call for each, of torch or of anything that is handed an array, takes
longer than to read them. So a kernel is handed the addresses of all tensors, and reads them in one call.
What it cannot read, on another device or in another dtype, goes to torch, in one call, too.

Squares are summed in float64, where those of float32 numbers neither overflow nor underflow: a norm is right
to that many digits whatever the tensor's size, and only elements that are not finite can spoil it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from numba import carray, njit, prange  # type: ignore[attr-defined] # numba does not list carray
from numpy.typing import NDArray
from torch import Tensor, nn

from gradflow.probing.addresses import READABLE, Number, pointer

Counts = NDArray[np.int64]
Norms = NDArray[np.float64]

_PLAIN = (Tensor, nn.Parameter)
"""Of a class that is derived from these nobody knows where its numbers are, or what they mean."""


def norms_of(tensors: Sequence[Tensor | None]) -> tuple[Norms, Counts]:
    """Return each tensor's Frobenius norm, and how many of its elements are not finite.

    A norm that is not finite, or that there is none of, is NaN. Another device than the host is waited
    for once, and once more if a norm there is not finite.

    Args:
        tensors: of any dtype and device; None stands for no tensor.
    """
    found, nonfinite = np.full(len(tensors), np.nan), np.zeros(len(tensors), dtype=np.int64)
    alike: defaultdict[torch.dtype | torch.device, list[int]] = defaultdict(list)
    for index, tensor in enumerate(tensors):
        if tensor is not None:
            alike[tensor.dtype if _is_readable(tensor) else tensor.device].append(index)
    for key, indices in alike.items():
        measured = _by_torch if isinstance(key, torch.device) else _by_kernel
        group = [tensor for index in indices if (tensor := tensors[index]) is not None]
        found[indices], nonfinite[indices] = measured(group)
    return np.where(np.isfinite(found), found, np.nan), nonfinite


def _is_readable(tensor: Tensor) -> bool:
    """Whether the kernel can read a tensor: it lies on the host, without gaps."""
    return (
        type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and tensor.is_cpu
        and tensor.dtype in READABLE
        and (tensor.data_ptr() != 0 or not tensor.numel())
        and (tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last))
    )


def _by_kernel(tensors: Sequence[Tensor]) -> tuple[Norms, Counts]:
    """Return norms and non-finite elements of tensors that the kernel can read, all of one dtype."""
    addresses = np.fromiter(map(Tensor.data_ptr, tensors), np.intp, len(tensors))
    sizes = np.fromiter(map(Tensor.numel, tensors), np.intp, len(tensors))
    squares, nonfinite = np.empty(len(tensors)), np.empty(len(tensors), dtype=np.int64)
    _sum_squares(addresses, sizes, READABLE[tensors[0].dtype], squares, nonfinite)
    return np.sqrt(squares), nonfinite


@torch.no_grad()
def _by_torch(tensors: Sequence[Tensor]) -> tuple[Norms, Counts]:
    """Return norms and non-finite elements of tensors on one device."""
    # A gradient of an embedding may be sparse: only the rows that were looked up.
    tensors = [tensor.coalesce().values() if tensor.is_sparse else tensor for tensor in tensors]
    tensors = [torch.view_as_real(one.resolve_conj()) if one.is_complex() else one for one in tensors]
    together = torch._foreach_norm(tensors, dtype=torch.float64)  # noqa: SLF001 - no public name
    found = torch.stack(together).cpu().numpy()
    nonfinite = np.zeros(len(tensors), dtype=np.int64)
    spoilt = np.flatnonzero(~np.isfinite(found))
    if len(spoilt):
        counts = [(~tensors[index].isfinite()).sum() for index in spoilt]
        nonfinite[spoilt] = torch.stack(counts).cpu().numpy()
    return found, nonfinite


# Compiled when it is imported, and summed in any order, as the kernels of `gradflow.probing.kernels` are.
@njit(
    [f"void(intp[::1], intp[::1], {kind}, float64[::1], int64[::1])" for kind in ("float32", "float64")],
    parallel=True,
    nogil=True,
    cache=True,
    fastmath={"reassoc", "contract"},
)
def _sum_squares(
    addresses: NDArray[np.intp],
    sizes: NDArray[np.intp],
    like: Number,
    squares: Norms,
    nonfinite: Counts,
) -> None:
    """Sum the squares of each of some tensors.

    Args:
        addresses: where they lie.
        sizes: how many elements they have.
        like: a number of their type.
        squares: shape (tensors,); becomes their squared norms.
        nonfinite: of that shape; becomes how many elements are not finite, wherever a squared norm is not.
    """
    for index in prange(len(addresses)):
        elements = carray(pointer(addresses[index], like), (sizes[index],))
        together = 0.0
        for place in range(len(elements)):
            element = np.float64(elements[place])
            together += element * element
        spoilt = 0
        if not math.isfinite(together):
            for place in range(len(elements)):
                spoilt += not math.isfinite(elements[place])
        squares[index], nonfinite[index] = together, spoilt
