"""Which module a recorder watches: the network itself, whatever it is wrapped in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from gradflow.errors import ProbeError

_WRAPPERS = {"DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
"""Classes of torch that hand their calls on to the network, and where they have it."""

_REFUSED = {
    "DataParallel": "runs copies of the network; use torch.nn.parallel.DistributedDataParallel",
    "FullyShardedDataParallel": "hides the network's parameters; use torch.distributed.fsdp.fully_shard",
}
"""Classes of torch whose insides cannot be measured, and why."""


def network_of(model: Any) -> nn.Module:
    """Return the network inside `model`, which `DistributedDataParallel` or `torch.compile` may have made.

    Classes are told by their names, so that none has to be imported.

    Raises:
        ProbeError: if it is no module, or one that cannot be measured.
    """
    if not isinstance(model, nn.Module):
        raise ProbeError(
            f"gradflow.Recorder watches one torch.nn.Module, not {type(model).__name__}; "
            "make a recorder for each model"
        )
    network: nn.Module = model
    while _is_torchs(network) and type(network).__name__ in _WRAPPERS:
        network = getattr(network, _WRAPPERS[type(network).__name__])
    for name, module in network.named_modules():
        where = f"'{name}'" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ProbeError(
                f"{where} is TorchScript, which cannot be measured; give the module it came from"
            )
        if _is_torchs(module) and type(module).__name__ in _REFUSED:
            kind = type(module).__name__
            raise ProbeError(f"{where} is a {kind}, which {_REFUSED[kind]}")
    return network


def refuse_nested(network: nn.Module, recorded: Iterable[nn.Module]) -> None:
    """Refuse to watch a network of which a part is watched already, or that is a part of such a one.

    Each would trace the other's forward pass, and add up the other's gradients.

    Args:
        network: what is to be watched.
        recorded: what is.

    Raises:
        ProbeError: naming both.
    """
    for other in recorded:
        for whole, part, is_new in ((network, other, False), (other, network, True)):
            name = next((name for name, module in whole.named_modules() if module is part), None)
            if name:
                inner, outer = f"{type(part).__name__} '{name}'", f"{type(whole).__name__}"
                said = (
                    f"the {inner} is a part of a {outer} that is being recorded"
                    if is_new
                    else f"the {inner} in this {outer} is being recorded"
                )
                raise ProbeError(
                    f"{said} already, and a network and a part of it cannot be recorded at once: a recorder "
                    f"of the {outer} measures the part's units, too; leave the other gradflow.Recorder first"
                )


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.")
