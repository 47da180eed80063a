"""Weights into models: those they fit, and those they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gradflow.checkpoint import load_checkpoint, load_into
from gradflow.errors import CheckpointError
from gradflow.models import build_model


def saved(model: nn.Module, tmp_path: Path) -> Path:
    """Save the model's weights and return where."""
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    return path


def test_loaded_weights_are_the_saved_ones(tmp_path: Path) -> None:
    """Every parameter and buffer comes back bit for bit."""
    source = build_model("preact8", seed=1)
    source.train()(torch.randn(4, 3, 8, 8))  # moves the running statistics
    target = build_model("preact8", seed=2)
    load_into(target, load_checkpoint(saved(source, tmp_path)))
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


def test_weights_take_the_models_dtype(tmp_path: Path) -> None:
    """A float32 checkpoint is exact in a float64 model."""
    source = build_model("preact8", seed=1)
    target = build_model("preact8").double()
    load_into(target, load_checkpoint(saved(source, tmp_path)))
    assert target.head.weight.dtype == torch.float64
    assert torch.equal(target.head.weight.float(), source.head.weight)


def test_a_wrapped_model_takes_bare_weights_and_the_other_way_round(tmp_path: Path) -> None:
    """Prefixes do not matter on either side."""
    source = build_model("preact8", seed=1)
    wrapped = nn.Sequential()
    wrapped.add_module("module", build_model("preact8", seed=2))
    load_into(wrapped, load_checkpoint(saved(source, tmp_path)))
    assert torch.equal(wrapped.module.head.weight, source.head.weight)
    bare = build_model("preact8", seed=3)
    load_into(bare, load_checkpoint(saved(wrapped, tmp_path)))
    assert torch.equal(bare.head.weight, source.head.weight)


def test_old_checkpoints_without_batch_counters_fit(tmp_path: Path) -> None:
    """BN's counter of batches is not needed."""
    source = build_model("preact8", seed=1)
    path = tmp_path / "old.pt"
    torch.save(
        {name: v for name, v in source.state_dict().items() if not name.endswith("num_batches_tracked")}, path
    )
    target = build_model("preact8")
    load_into(target, load_checkpoint(path))
    assert torch.equal(target.head.weight, source.head.weight)


@pytest.mark.parametrize("name", ["resnet18", "mnasnet0_5"])
def test_weights_of_other_libraries_fit_their_models(name: str, tmp_path: Path) -> None:
    """Also where a module insists on the version of its state dict, as MNASNet does."""
    source = build_model(f"torchvision:{name}", seed=1)
    target = build_model(f"torchvision:{name}", seed=2)
    load_into(target, load_checkpoint(saved(source, tmp_path)))
    pairs = zip(source.parameters(), target.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("saved_from", "loaded_into", "message"),
    [
        (
            {"spec": "resnet20-bottleneck", "num_classes": 100},
            {"spec": "preact20-bottleneck"},
            (
                r"^checkpoint 'weights\.pt' does not fit preact20-bottleneck: 16 missing "
                r"\(stage1\.0\.pre_activation\.bn\.weight, .* and 13 more\); 35 unexpected \(stem\.activ"
                r".* and 32 more\); 38 of another shape \(stage1\.0\.branch\.bn3\.weight is 64 and should "
                r"be 16, .* and 35 more\); it fits --model resnet20-bottleneck --num-classes 100$"
            ),
        ),
        (
            {"spec": "preact8", "width": 8},
            {"spec": "preact8"},
            (
                r"of another shape \(stem\.conv\.weight is 8 × 3 × 3 × 3 and should be 16 × 3 × 3 × 3, "
                r".* and \d+ more\); it fits --model preact8 --width 8$"
            ),
        ),
        (
            {"spec": "torchvision:resnet18"},
            {"spec": "preact8"},
            r"unexpected \(conv1\.weight, bn1\.weight, bn1\.bias and \d+ more\); no network of the zoo",
        ),
        (
            {"spec": "preact14"},
            {"spec": "torchvision:resnet18"},
            r"does not fit ResNet: .*it fits --model preact14$",
        ),
    ],
)  # fmt: skip
def test_another_architecture_is_refused_with_what_would_fit(
    saved_from: dict[str, object], loaded_into: dict[str, object], message: str, tmp_path: Path
) -> None:
    """The error counts the keys, shows the first, and names the zoo's network that the weights are of."""
    path = saved(build_model(**saved_from), tmp_path)
    target = build_model(**loaded_into)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_into(target, load_checkpoint(path))
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], value) for name, value in target.state_dict().items())
