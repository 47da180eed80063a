"""Files that hold weights, and files that do not."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gradflow.checkpoint import load_checkpoint
from gradflow.errors import CheckpointError
from gradflow.models import build_model


def weights() -> dict[str, Tensor]:
    """Return a small state dict."""
    return build_model("preact8", width=2, seed=1).state_dict()


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two state dicts have the same names and bits."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Return a function that puts `prefix` in front of every name."""
    return lambda state: {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        dict,
        lambda state: {"model": state},
        lambda state: {"state_dict": state, "epoch": 3, "best": 0.9},
        lambda state: {"net": state},
        lambda state: {"model": {"state_dict": state}},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
        lambda state: {"model": prefixed("module.")(state), "optimizer": {"state": [torch.ones(2)]}},
        lambda state: {name.replace("branch.", "branch._orig_mod."): value for name, value in state.items()},
    ],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_weights_are_found_wherever_scripts_put_them(
    wrap: Callable[[dict[str, Tensor]], Any], zipped: bool, tmp_path: Path
) -> None:
    """Wrappers and prefixes come off; the bits stay."""
    path = tmp_path / "weights.pt"
    torch.save(wrap(weights()), path, _use_new_zipfile_serialization=zipped)
    checkpoint = load_checkpoint(path)
    assert same(checkpoint.state_dict, weights())
    assert checkpoint.name == "weights.pt"
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_safetensors_are_read_with_their_metadata(tmp_path: Path) -> None:
    """The other format gives the same weights, and the iteration from its metadata."""
    path = tmp_path / "weights.safetensors"
    save_file(prefixed("module.")(weights()), path, metadata={"iteration": "64000"})
    checkpoint = load_checkpoint(path)
    assert same(checkpoint.state_dict, weights())
    assert (checkpoint.iteration, checkpoint.data) == (64000, None)


@pytest.mark.parametrize(
    ("extra", "iteration"),
    [
        ({"iteration": 400}, 400),
        ({"global_step": torch.tensor(7)}, 7),
        ({"step": 3.0}, 3),
        ({"iteration": float("nan")}, None),
        ({"epoch": 5}, None),
        ({"iteration": True}, None),
        ({"iteration": -1, "step": 2}, 2),
    ],
)
def test_the_iteration_is_what_the_file_says(
    extra: dict[str, Any], iteration: int | None, tmp_path: Path
) -> None:
    """Known keys are read; an epoch is no iteration; nonsense is none."""
    path = tmp_path / "weights.pt"
    torch.save({"model": weights(), **extra}, path)
    assert load_checkpoint(path).iteration == iteration


def test_the_training_data_is_what_the_file_says(tmp_path: Path) -> None:
    """A checkpoint of gradflow's own training carries its data set and normalisation."""
    data = {"name": "cifar10", "normalisation": {"mean": [0.5], "std": [0.25]}}
    path = tmp_path / "weights.pt"
    torch.save({"model": weights(), "iteration": 1, "data": data}, path)
    assert load_checkpoint(path).data == data


def test_non_finite_weights_are_loaded_and_counted(tmp_path: Path) -> None:
    """NaN and infinities are what one may want to look at."""
    state = weights()
    state["stem.conv.weight"].view(-1)[:3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    state["head.bias"][0] = float("nan")
    path = tmp_path / "diverged.pt"
    torch.save(state, path)
    assert load_checkpoint(path).nonfinite == 4
    torch.save(weights(), path)
    assert load_checkpoint(path).nonfinite == 0


class WithCode:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("code-was-run",)


@pytest.mark.parametrize(
    ("save", "message"),
    [
        (lambda path: torch.save({"model": WithCode()}, path), r"a pickle with code in it \(\w+\.mkdir\)"),
        (lambda path: torch.save(WithCode(), path, _use_new_zipfile_serialization=False), r"code in it"),
        (lambda path: path.write_bytes(pickle.dumps(WithCode())), r"is a pickle that may have code in it"),
        (lambda path: torch.save(nn.Linear(2, 2), path), r"code in it \(torch.nn.modules.linear.Linear\)"),
        (lambda path: torch.save({"rng": np.ones(3)}, path), r"code in it \(numpy.*_reconstruct"),
    ],
)  # fmt: skip
def test_a_pickle_with_code_is_refused_and_not_run(
    save: Callable[[Path], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the code, says how to save weights alone, and nothing was executed."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    save(path)
    with pytest.raises(CheckpointError, match=message + r".*torch\.save\(model\.state_dict\(\)") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pt"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(part: float, zipped: bool, tmp_path: Path) -> None:
    """Wherever the file ends too early, the error is one line that says so."""
    path = tmp_path / "weights.pt"
    torch.save(weights(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(CheckpointError, match=r"'weights.pt' is truncated, damaged or not a ch") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 5, 300])
def test_a_truncated_safetensors_file_is_refused(size: int, tmp_path: Path) -> None:
    """The same holds for the other format."""
    path = tmp_path / "weights.safetensors"
    save_file(weights(), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"is truncated, damaged or not a checkpoint \(Safetens"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], r"holds a value of type list; expected a state dict, or one under model, state_dict, net"),
        (torch.ones(2), r"holds a value of type Tensor; expected"),
        ({}, r"it has 0 tensors; expected tensors by name"),
        ({"model": {"a": 1, "b": torch.ones(1)}}, r"'model' has 1 tensor and 1 other entry \('a': int\)"),
        ({"epoch": 3}, r"it has 0 tensors and 1 other entry \('epoch': int\)"),
        (dict.fromkeys("abcd", 1), r"and 4 other entries \('a': int, 'b': int, 'c': int, …\)"),
        ({"module.a": torch.ones(1), "a": torch.ones(1)}, r"names 1 tensor twice"),
    ],
)  # fmt: skip
def test_what_is_no_state_dict_is_refused(content: object, message: str, tmp_path: Path) -> None:
    """The error says what was found instead."""
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    """A path with no file at it is said as such."""
    with pytest.raises(CheckpointError, match=r"absent\.pt' does not exist"):
        load_checkpoint(tmp_path / "absent.pt")
    with pytest.raises(CheckpointError, match=r"is a directory; expected a \.pt"):
        load_checkpoint(tmp_path)
    (tmp_path / "notes.pt").write_text("hello world\n")
    with pytest.raises(CheckpointError, match=r"'notes\.pt' is truncated, damaged or not a checkpoint"):
        load_checkpoint(tmp_path / "notes.pt")
