"""The trainers of Lightning, transformers and accelerate, with a recorder in them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelerate
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import transformers
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision
from small_networks import Chain, labels, rows, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import gradflow
from gradflow.errors import InstallationError, ProbeError
from gradflow.integrations import lightning as with_lightning
from gradflow.integrations import transformers as with_transformers

NORMS = ["x_norm", "branch_norm", "grad_in_norm", "grad_shortcut_norm", "grad_branch_norm", "param_grad_norm"]
SIZE = 4
"""Samples in a batch."""


class Samples(Dataset[Any]):
    """Vectors of noise with classes, as a tuple or as the named arguments of a model.

    Args:
        named: whether as the latter.
    """

    def __init__(self, *, named: bool = False) -> None:
        self._inputs, self._targets = rows(6 * SIZE), labels(6 * SIZE)
        self._named = named

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, index: int) -> Any:
        if self._named:
            return {"x": self._inputs[index], "labels": self._targets[index]}
        return self._inputs[index], self._targets[index]


def norms(record: gradflow.Record, iteration: int) -> np.ndarray:
    """Return what was measured of the units at one iteration."""
    return record.units.loc[record.units["iteration"] == iteration, NORMS].to_numpy(float)


def probed(model: nn.Module, batch: int, divisor: float = 1.0) -> np.ndarray:
    """Return what a probe measures of the loss on one of the batches, divided by `divisor`."""
    part = slice(batch * SIZE, (batch + 1) * SIZE)
    inputs, targets = rows(6 * SIZE)[part], labels(6 * SIZE)[part]
    record = gradflow.probe(model, inputs, loss=lambda outputs: F.cross_entropy(outputs, targets) / divisor)
    return norms(record, 0)


class Classifier(pl.LightningModule):
    """Trains a chain of residual units."""

    def __init__(self, skips: int = -1) -> None:
        super().__init__()
        self.net = seeded(Chain)
        self.fails_at = -1
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, index: int) -> Tensor | None:
        if index == self.fails_at:
            raise ZeroDivisionError("in the middle of an epoch")
        return None if index == self.skips else F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def _quiet_lightning() -> Iterator[None]:
    """Its advice about workers and logging intervals is for other uses."""
    import logging

    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def fit(model: pl.LightningModule, folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """Train `model` for an epoch of six batches."""
    trainer = pl.Trainer(
        **{"max_epochs": 1, "accelerator": "cpu", "logger": False, "enable_checkpointing": False} | options,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        default_root_dir=folder,
    )
    trainer.fit(model, DataLoader(Samples(), SIZE))
    return trainer


# Trainers give advice about workers, logging intervals and their own future, as warnings.
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.mark.usefixtures("_quiet_lightning")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(accumulate: int, tmp_path: Path) -> None:
    """Optimiser steps are counted, not batches; numbers are the probe's; weights those without a recorder."""
    plain, recorded, expected = Classifier(), Classifier(), probed(Classifier().net, 0, accumulate)
    options = {"accumulate_grad_batches": accumulate, "gradient_clip_val": 0.01}
    fit(plain, tmp_path, **options)
    callback = with_lightning.RecorderCallback(every=2, out=tmp_path / "run")
    trainer = fit(recorded, tmp_path, callback, **options)
    assert trainer.global_step == 6 // accumulate
    assert callback.record.steps["iteration"].tolist() == list(range(0, trainer.global_step, 2))
    np.testing.assert_allclose(norms(callback.record, 0), expected, rtol=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, recorded.state_dict()[name]), name
    assert len(gradflow.load_record(tmp_path / "run").steps) == len(callback.record.steps)
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.usefixtures("_quiet_lightning")
def test_lightning_with_a_named_module_that_goes_on_and_fails(tmp_path: Path) -> None:
    """A run that goes on counts from its checkpoint; an exception leaves nothing attached, and saves."""
    model = Classifier()
    trainer = fit(model, tmp_path, enable_checkpointing=True)
    checkpoint = tmp_path / "at.ckpt"
    trainer.save_checkpoint(checkpoint)
    callback = with_lightning.RecorderCallback(every=4, module="net", out=tmp_path / "run")
    again = Classifier()
    again.fails_at = 3
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callback], default_root_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(ZeroDivisionError, match="in the middle of an epoch"):
        trainer.fit(again, DataLoader(Samples(), SIZE), ckpt_path=checkpoint)
    assert callback.record.steps["iteration"].tolist() == [8]
    assert gradflow.load_record(tmp_path / "run").steps["iteration"].tolist() == [8]
    assert torch._C._len_torch_function_stack() == 0
    with pytest.raises(ProbeError, match="Classifier has no module 'network'; it has net"):
        fit(Classifier(), tmp_path, with_lightning.RecorderCallback(module="network"))
    with pytest.raises(ProbeError, match="training has not begun"):
        _ = with_lightning.RecorderCallback().record


@pytest.mark.usefixtures("_quiet_lightning")
def test_lightning_that_skips_a_batch(tmp_path: Path) -> None:
    """Where `training_step` returns None the next step is measured; a network that never runs is an error."""
    callback = with_lightning.RecorderCallback(module="net", every=3, out=tmp_path / "run")
    trainer = fit(Classifier(skips=3), tmp_path, callback)
    assert trainer.global_step == 6
    assert callback.record.steps["iteration"].tolist() == [0, 4]
    notes = gradflow.load_record(tmp_path / "run").meta["notes"]
    assert any(
        "iteration 3 was to be measured and was not: training_step returned None; iteration 4 was" in note
        for note in notes
    )
    model = Classifier()
    model.other = seeded(Chain)
    with pytest.raises(ProbeError, match="iteration 0 was to be measured, and Chain did not run"):
        fit(model, tmp_path, with_lightning.RecorderCallback(module="other"))


class TwoOptimizers(pl.LightningModule):
    """Trains two networks by hand, each with an optimiser of its own; the second in some batches only.

    Args:
        second: trains in the batches that this divides.
    """

    def __init__(self, second: int = 1) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = seeded(Chain), seeded(Chain, seed=1)
        self.every_second = second

    def training_step(self, batch: Any, index: int) -> None:
        for number, network in enumerate((self.first, self.second)):
            if number == 0 or (index + 1) % self.every_second == 0:
                optimizer = self.optimizers()[number]
                optimizer.zero_grad()
                self.manual_backward(F.cross_entropy(network(batch[0]), batch[1]))
                optimizer.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(network.parameters(), lr=0.1) for network in (self.first, self.second)]


@pytest.mark.usefixtures("_quiet_lightning")
def test_lightning_with_manual_optimisation(tmp_path: Path) -> None:
    """Iterations are batches, however many optimisers step in one, and go on as such from a checkpoint."""
    every_two = ModelCheckpoint(tmp_path, every_n_train_steps=4, save_top_k=-1, filename="at-{step}")
    callback = with_lightning.RecorderCallback(module="second", every=2)
    trainer = fit(TwoOptimizers(), tmp_path, callback, every_two, enable_checkpointing=True)
    assert trainer.global_step == 12
    assert callback.record.steps["iteration"].tolist() == [0, 2, 4]
    again = with_lightning.RecorderCallback(module="second", every=1)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, callbacks=[again], default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(TwoOptimizers(), DataLoader(Samples(), SIZE), ckpt_path=tmp_path / "at-step=8.ckpt")
    assert again.record.steps["iteration"].tolist() == [*range(4, 12)]
    found, expected = (  # of the weights: such a run takes its first batch again
        one.record.units.query("iteration == 4")["param_norm"].tolist() for one in (again, callback)
    )
    assert found == expected


@pytest.mark.usefixtures("_quiet_lightning")
def test_lightning_with_a_network_that_trains_now_and_then(tmp_path: Path) -> None:
    """Under manual optimisation the first batch that trains the network is measured for the due one."""
    callback = with_lightning.RecorderCallback(module="second", every=3)
    fit(TwoOptimizers(second=2), tmp_path, callback)
    assert callback.record.steps["iteration"].tolist() == [1, 3]
    said = [note for note in callback.record.meta["notes"] if "was to be measured" in note]
    assert len(said) == 1
    assert "iteration 0 was to be measured and was not: no backward pass went through" in said[0]
    with pytest.warns(
        UserWarning, match="measured nothing of Chain: in iteration 0 and those after it no back"
    ):
        fit(TwoOptimizers(second=100), tmp_path, with_lightning.RecorderCallback(module="second"))


@pytest.mark.usefixtures("_quiet_lightning")
def test_lightning_in_half_precision(tmp_path: Path) -> None:
    """The scale of its 16-bit mixed precision is divided out."""
    model = Classifier()
    expected = probed(model.net, 0)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    callback = with_lightning.RecorderCallback(every=100)
    fit(model, tmp_path, callback, plugins=[plugin])
    np.testing.assert_allclose(norms(callback.record, 0), expected, rtol=2e-2)


class Named(nn.Module):
    """The chain as transformers' trainer calls a model: named arguments, a dict with the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = seeded(Chain)
        self.fails = False

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if self.fails:
            raise ZeroDivisionError("in the middle of an epoch")
        outputs = self.net(x)
        return {"loss": F.cross_entropy(outputs, labels), "logits": outputs}


class InOrder(transformers.Trainer):
    """Takes the samples in their order."""

    def get_train_dataloader(self) -> Any:
        return self.accelerator.prepare(DataLoader(self.train_dataset, SIZE))


def hugging_face(
    model: nn.Module, folder: Path, *callbacks: Any, accumulate: int = 1
) -> transformers.Trainer:
    """Return transformers' trainer for an epoch of six batches, in their order."""
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=SIZE,
        gradient_accumulation_steps=accumulate,
        num_train_epochs=1,
        max_grad_norm=0.01,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    return InOrder(model, arguments, train_dataset=Samples(named=True), callbacks=list(callbacks))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_transformers(accumulate: int, tmp_path: Path) -> None:
    """Optimiser steps are counted, not batches; numbers are the probe's; weights those without a recorder."""
    plain, recorded, expected = Named(), Named(), probed(Named().net, 0, accumulate)
    hugging_face(plain, tmp_path, accumulate=accumulate).train()
    callback = with_transformers.RecorderCallback(every=2, out=tmp_path / "run")
    trainer = hugging_face(recorded, tmp_path, callback, accumulate=accumulate)
    trainer.train()
    assert trainer.state.global_step == 6 // accumulate
    assert callback.record.steps["iteration"].tolist() == list(range(0, trainer.state.global_step, 2))
    np.testing.assert_allclose(norms(callback.record, 0), expected, rtol=1e-5)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, recorded.state_dict()[name]), name
    assert len(gradflow.load_record(tmp_path / "run").steps) == len(callback.record.steps)
    assert torch._C._len_torch_function_stack() == 0


def test_transformers_that_fails_inside_the_context(tmp_path: Path) -> None:
    """The context takes everything away after an exception, which a trainer tells no callback of."""
    model = Named()
    callback = with_transformers.RecorderCallback(every=1)
    trainer = hugging_face(model, tmp_path, callback)
    model.fails = True
    with pytest.raises(ZeroDivisionError, match="in the middle of an epoch"), callback:
        trainer.train()
    assert torch._C._len_torch_function_stack() == 0
    model.fails = False
    trainer.train()  # and a callback may be used again
    assert len(callback.record.steps) == 6


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accelerate(accumulate: int) -> None:
    """Its prepared model, optimiser and loader: numbers are the probe's, the loss's share of the step."""
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    network = seeded(Chain)
    expected = probed(network, 0, accumulate)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    model, optimizer, loader = accelerator.prepare(network, optimizer, DataLoader(Samples(), SIZE))
    with gradflow.Recorder(accelerator.unwrap_model(model), every=2, scaler=accelerator.scaler) as recorder:
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(inputs), targets)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients:
                recorder.step()
    assert recorder.iteration == 6 // accumulate
    np.testing.assert_allclose(norms(recorder.record, 0), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [("lightning", "lightning", "lightning"), ("transformers", "accelerate", "transformers")],
)
def test_what_is_not_installed_is_named_with_its_extra(
    module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing a callback without its library says in one line what to install."""
    found = [name for name in sys.modules if name == package or name.startswith(f"{package}.")]
    for name in found:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"gradflow.integrations.{module}")
    monkeypatch.setattr(sys, "meta_path", [_Without(package), *sys.meta_path])
    with pytest.raises(
        InstallationError, match=rf"{package} is not installed; run: pip install 'gradflow\[{extra}\]'"
    ):
        importlib.import_module(f"gradflow.integrations.{module}")


class _Without:
    """A finder in whose eyes a package is not there."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == self._package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
