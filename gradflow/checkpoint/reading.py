"""From a file to weights by name, without running anything that the file may hold."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradflow.errors import CheckpointError
from gradflow.importing import describe

_WRAPPERS = ("model", "state_dict", "net", "model_state_dict")
"""Keys under which training scripts keep the weights, beside what else they save."""

_ITERATIONS = ("iteration", "global_step", "step")
"""Keys under which they keep the number of training steps."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights from a file.

    Attributes:
        name: the file's name, without its directory.
        sha256: digest of the file.
        state_dict: tensors by name on the CPU; `module.` and `_orig_mod.` are taken off the names.
        iteration: training steps, if the file says so.
        data: data set and normalisation that it was trained on, if it says so.
        nonfinite: elements that are NaN or infinite, which are loaded as they are.
    """

    name: str
    sha256: str
    state_dict: dict[str, Tensor]
    iteration: int | None
    data: dict[str, Any] | None
    nonfinite: int


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint: a state dict, or a dictionary that holds one, or a `.safetensors` file.

    A state dict may lie under `model`, `state_dict`, `net` or `model_state_dict`. Tensors are
    read onto the CPU; objects other than tensors and plain values are refused, because
    reading them would run code of the file's choosing.

    Args:
        path: the file.

    Raises:
        CheckpointError: if the file is missing, damaged, unsafe to load, or holds no state dict.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f"checkpoint '{path}' is a directory; expected a .pt, .pth or .safetensors file"
        )
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint '{path}' does not exist; check the path") from error
    except OSError as error:
        raise CheckpointError(f"checkpoint '{path}' cannot be read: {error.strerror or error}") from error
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    state_dict = _state_dict(content, path.name)
    return Checkpoint(
        name=path.name,
        sha256=digest,
        state_dict=state_dict,
        iteration=_iteration(content),
        data=_data(content),
        nonfinite=sum(int((~value.isfinite()).sum()) for value in state_dict.values()),
    )


def plain_name(name: str) -> str:
    """Return a tensor's name as the bare model has it.

    `torch.compile` puts `_orig_mod.` in front of what it compiled, at any depth;
    `DataParallel` and `DistributedDataParallel` put `module.` in front of everything.
    """
    name = name.replace("_orig_mod.", "")
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _torch_file(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old formats are read or refused; either is said by us
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named or "Weights only" in str(error):
            what = f"a pickle with code in it ({named[1]})" if named else "a pickle that may have code in it"
            raise CheckpointError(
                f"checkpoint '{path.name}' is {what}, and loading it could run that code; where you trust "
                "it, load it yourself and save the weights alone: torch.save(model.state_dict(), …)"
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            return {**metadata, "state_dict": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = describe(error).split(". ")[0][:160]
    return CheckpointError(
        f"checkpoint '{path.name}' is truncated, damaged or not a checkpoint ({reason}); save it again"
    )


def _state_dict(content: Any, name: str) -> dict[str, Tensor]:
    """Return the tensors by their plain names.

    Raises:
        CheckpointError: if there are none, or something else is among them.
    """
    found, place = content, "it"
    while isinstance(found, Mapping):
        wrapper = next((key for key in _WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if wrapper is None:
            break
        found, place = found[wrapper], f"'{wrapper}'"
    if not isinstance(found, Mapping):
        raise CheckpointError(
            f"checkpoint '{name}' holds a value of type {type(content).__name__}; expected a state dict, or "
            f"one under {', '.join(_WRAPPERS)}"
        )
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    others = {str(key): type(value).__name__ for key, value in found.items() if str(key) not in tensors}
    if not tensors or any(not key.endswith("_extra_state") for key in others):
        shown = [f"'{key}': {kind}" for key, kind in others.items()]
        listed = ", ".join([*shown[:3], "…"] if len(shown) > 3 else shown)
        raise CheckpointError(
            f"checkpoint '{name}' holds no state dict: {place} has {_count(tensors, 'tensor', 'tensors')}"
            + (f" and {_count(others, 'other entry', 'other entries')} ({listed})" if others else "")
            + f"; expected tensors by name, or a dictionary of them under {', '.join(_WRAPPERS)}"
        )
    for key, value in tensors.items():
        if value.layout != torch.strided or value.is_complex():
            kind = "complex" if value.is_complex() else str(value.layout).removeprefix("torch.")
            raise CheckpointError(
                f"checkpoint '{name}' holds a {kind} tensor ('{key}'); expected dense tensors of real numbers"
            )
    plain = {plain_name(key): value for key, value in tensors.items()}
    if len(plain) < len(tensors):
        twice = _count(tensors.keys() - plain.keys(), "tensor", "tensors")
        raise CheckpointError(
            f"checkpoint '{name}' names {twice} twice, with and without 'module.' or '_orig_mod.'; "
            "save each once"
        )
    return plain


def _iteration(content: Any) -> int | None:
    for key in _ITERATIONS:
        value = content.get(key)
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, str) and value.isdecimal():  # safetensors keeps metadata as text
            return int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def _data(content: Any) -> dict[str, Any] | None:
    value = content.get("data")
    return dict(value) if isinstance(value, Mapping) and "name" in value else None


def _count(things: Sized, one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"
