"""From a model's outputs to the scalar that is differentiated."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import Node

from gradflow.errors import ProbeError
from gradflow.misclassification import misclassified

Loss = Callable[..., Tensor]

_IGNORED = -100
"""Target that cross-entropy leaves out, as torch has it."""


def loss_name(loss: Loss | None, targets: Any) -> str:
    """Return what a record calls the loss."""
    if loss is None:
        return "the model's own" if targets is None else _default(targets)
    return getattr(loss, "__qualname__", None) or type(loss).__name__


def evaluate_loss(outputs: Any, targets: Any, loss: Loss | None) -> Tensor:
    """Return the scalar loss of `outputs`, to be differentiated.

    Args:
        outputs: what the model returned: a tensor, or an object or dict with `logits` or `loss`.
        targets: class indices (cross-entropy over the last dimension of token outputs, over
            the second of others), values of the outputs' shape (mean squared error), or None.
        loss: called as ``loss(outputs, targets)``; as ``loss(outputs)`` where targets are None.

    Raises:
        ProbeError: if there is no loss, it takes other arguments, it is no scalar, or no gradient can flow
            from it.
    """
    value = scalar_loss(outputs, targets, loss)
    if value.grad_fn is None:
        raise ProbeError("no gradient flows from the loss: it does not depend on a parameter that needs one")
    return value


def scalar_loss(outputs: Any, targets: Any, loss: Loss | None) -> Tensor:
    """Return the scalar loss of `outputs`, whether or not a gradient can flow from it.

    Args:
        outputs: as for `evaluate_loss`.
        targets: as for `evaluate_loss`.
        loss: as for `evaluate_loss`.

    Raises:
        ProbeError: if there is no loss, it takes other arguments, or it is no scalar.
    """
    value: Any
    if loss is not None:
        arguments = (outputs,) if targets is None else (outputs, targets)
        _require_call(loss, len(arguments))
        value = loss(*arguments)
    elif targets is None:
        value = _field(outputs, "loss")
        if value is None:
            raise ProbeError(
                "there is nothing to differentiate: give targets, or a loss, or a model whose output "
                "has a 'loss'"
            )
    else:
        value = _default_loss(_logits(outputs), targets)
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ProbeError(f"the loss must be one number, not {shape}; reduce it with .mean() or .sum()")
    return value.reshape(())


def _require_call(loss: Loss, count: int) -> None:
    """Insist that a loss can be called with as many arguments by position as it is to be given.

    Raises:
        ProbeError: saying what it is called with, and what it takes.
    """
    try:
        signature = inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss)
    except (TypeError, ValueError):  # a callable written in C need not have one
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        given = "(outputs), for there are no targets" if count == 1 else "(outputs, targets)"
        raise ProbeError(
            f"the loss is called as loss{given}, and {loss_name(loss, None)}{signature} does not take that; "
            "give one that does, such as a lambda around it"
        ) from None


def error_rate(outputs: Any, targets: Any) -> float | None:
    """Return the share of targets whose class is not the model's largest output.

    Args:
        outputs: what the model returned, as for `evaluate_loss`.
        targets: class indices; those that cross-entropy ignores are left out.

    Returns:
        the share, or None where there are no classes: no class indices, or no logits that fit. A sample
        with a NaN among its outputs has no largest one, and counts as wrong.
    """
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dtype == torch.bool:
        return None
    logits = outputs if isinstance(outputs, Tensor) else _field(outputs, "logits")
    if logits is None:
        return None
    logits, targets = _by_class(logits, targets)
    if logits.ndim < 2 or (logits.shape[0], *logits.shape[2:]) != tuple(targets.shape):
        return None
    counted = targets != _IGNORED
    return float(misclassified(logits, targets)[counted].double().mean())


def root_of(loss: Tensor) -> Node:
    """Return the node from which the backward pass of a loss that `evaluate_loss` gave starts."""
    assert loss.grad_fn is not None, "evaluate_loss refuses a loss without gradient"
    return loss.grad_fn


def _default(targets: Any) -> str:
    return "mse_loss" if isinstance(targets, Tensor) and targets.is_floating_point() else "cross_entropy"


def _default_loss(logits: Tensor, targets: Any) -> Tensor:
    if not isinstance(targets, Tensor):
        raise ProbeError(f"targets of type {type(targets).__name__} need a loss of their own (loss=)")
    if _default(targets) == "mse_loss":
        if targets.shape != logits.shape:
            raise ProbeError(
                f"targets of shape {tuple(targets.shape)} do not fit outputs of {tuple(logits.shape)}"
            )
        return F.mse_loss(logits, targets.to(logits.dtype))
    logits, targets = _by_class(logits, targets)
    if logits.ndim < 2 or (logits.shape[0], *logits.shape[2:]) != tuple(targets.shape):
        raise ProbeError(
            f"class targets of shape {tuple(targets.shape)} do not fit outputs of {tuple(logits.shape)}"
        )
    if targets.dtype == torch.bool or targets.is_complex():
        raise ProbeError(
            f"targets of type {targets.dtype} are no class indices; give a loss of their own (loss=)"
        )
    targets = targets.long()
    named = targets[targets != _IGNORED]
    if named.numel() and (int(named.max()) >= logits.shape[1] or int(named.min()) < 0):
        wrong = int(named.min()) if int(named.min()) < 0 else int(named.max())
        raise ProbeError(
            f"a target names class {wrong}, but the model has {logits.shape[1]} outputs, from class 0"
        )
    return F.cross_entropy(logits, targets)


def _by_class(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return token outputs (…, classes) as (tokens, classes), their targets flat; others as they are."""
    if logits.ndim == targets.ndim + 1 and logits.ndim > 2 and logits.shape[:-1] == targets.shape:
        return logits.flatten(0, -2), targets.flatten()
    return logits, targets


def _logits(outputs: Any) -> Tensor:
    found = outputs if isinstance(outputs, Tensor) else _field(outputs, "logits")
    if found is None and isinstance(outputs, (tuple, list)) and outputs and isinstance(outputs[0], Tensor):
        found = outputs[0]
    if not isinstance(found, Tensor):
        raise ProbeError(f"the model returned {type(outputs).__name__} without 'logits'; give a loss (loss=)")
    return found


def _field(outputs: Any, name: str) -> Tensor | None:
    value = outputs.get(name) if isinstance(outputs, dict) else getattr(outputs, name, None)
    return value if isinstance(value, torch.Tensor) else None
