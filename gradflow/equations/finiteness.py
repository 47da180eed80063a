"""What is not a number in a network that is checked: then nothing that is said of it counts as held.

A NaN that no checked term sees, in the head or in a branch beside the span, would otherwise pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from gradflow.equations.verdicts import Row
from gradflow.probing import BatchNormMode

NO_CHECK_HOLDS = "so no check of this network counts as held"
THE_LOSS = "the loss"
_NAMED = 3
"""So many names in a sentence; of others the number is told."""


def not_finite(model: nn.Module, loss: float, bn: BatchNormMode) -> list[str]:
    """Return the names of what is not finite in the network and its loss.

    Parameters count with every element, whether the loss depends on them or not. Running statistics count
    where they are used, with `bn` running. In other buffers a NaN counts and an infinity does not, for masks
    of attention are made of those.

    Args:
        model: in the dtype in which it ran.
        loss: its value on the batch.
        bn: how batch normalisation ran.
    """
    found = [name for name, parameter in model.named_parameters() if not _is_finite(parameter)]
    for prefix, module in model.named_modules():
        statistics = isinstance(module, _NormBase)
        for name, buffer in module.named_buffers(prefix, recurse=False):
            if statistics:
                bad = bn == "running" and not _is_finite(buffer)
            else:
                bad = bool(torch.isnan(buffer).any())
            if bad:
                found.append(name)
    return found if math.isfinite(loss) else [*found, THE_LOSS]


def none_holds(rows: Iterable[Row], names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows as failures that say why, with the errors that were measured; as they are for no names.

    Args:
        rows: of the `checks` table, of one run.
        names: what is not finite in it.
    """
    for row in rows:
        if names:
            finding = "; ".join(filter(None, (row["finding"], _said(names))))
            yield {**row, "holds": False, "expected_to_hold": True, "finding": finding}
        else:
            yield row


def describe_not_finite(names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a sentence for each kind of run that had something that is not finite.

    Args:
        names: what is not finite, by dtype.
    """
    for same in dict.fromkeys(map(tuple, names.values())):
        if same:
            dtypes = " and ".join(dtype for dtype, found in names.items() if tuple(found) == same)
            yield f"{_said(same)} in {dtypes}, {NO_CHECK_HOLDS}"


def _said(names: Sequence[str]) -> str:
    listed = list(names[:_NAMED])
    if len(names) > _NAMED:
        listed.append(f"{len(names) - _NAMED} more")
    *others, last = listed
    said = f"{', '.join(others)} and {last}" if others else last
    return f"{said} {'is' if len(names) == 1 else 'are'} not finite"


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor.detach()).all())
