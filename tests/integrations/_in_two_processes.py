"""A process of a job that is started by torchrun, for `test_trainers_together.py`: each trainer trains once.

Run as `_in_two_processes.py FOLDER`. What each process records goes to FOLDER/TRAINER-RANK.pt, and the record
of process 0 to FOLDER/TRAINER.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
import transformers
from small_networks import Chain, labels, rows, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import gradflow
from gradflow.integrations import lightning as with_lightning
from gradflow.integrations import transformers as with_transformers

SAMPLES, SIZE, RATE = 24, 4, 0.1
"""How many there are, how many a process takes at a time, and the rate of plain SGD."""


class Samples(Dataset[Any]):
    """Vectors of noise with classes, as the named arguments of a model."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> Any:
        return {"x": rows(SAMPLES)[index], "labels": labels(SAMPLES)[index]}


class Named(nn.Module):
    """The chain, which computes its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = seeded(Chain)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        outputs = self.net(x)
        return {"loss": F.cross_entropy(outputs, labels), "logits": outputs}


class Classifier(pl.LightningModule):
    """The same for Lightning."""

    def __init__(self) -> None:
        super().__init__()
        self.net = seeded(Chain)

    def training_step(self, batch: Any, index: int) -> Tensor:
        return F.cross_entropy(self.net(batch["x"]), batch["labels"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=RATE)


class InOrder(transformers.Trainer):
    """Takes the samples in their order."""

    def get_train_dataloader(self) -> Any:
        return self.accelerator.prepare(DataLoader(self.train_dataset, SIZE))


def lightning(folder: Path) -> tuple[gradflow.Record, nn.Module]:
    """Train with Lightning's DDP."""
    model = Classifier()
    callback = with_lightning.RecorderCallback(every=2, module="net", out=folder / "lightning")
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback], default_root_dir=folder,
        use_distributed_sampler=False,
    )  # fmt: skip
    dealt = range(int(os.environ["RANK"]), SAMPLES, 2)  # its own sampler for several processes shuffles
    trainer.fit(model, DataLoader(Samples(), SIZE, sampler=dealt))
    return callback.record, model.net


def hugging_face(folder: Path) -> tuple[gradflow.Record, nn.Module]:
    """Train with transformers' trainer, which lets accelerate make the model a DDP."""
    model = Named()
    callback = with_transformers.RecorderCallback(every=2, out=folder / "hugging_face")
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=SIZE,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        ddp_backend="gloo",
        disable_tqdm=True,
    )
    InOrder(model, arguments, train_dataset=Samples(), callbacks=[callback]).train()
    return callback.record, model.net


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # advice about workers and the like
    place = Path(sys.argv[1])
    for train in (hugging_face, lightning):
        record, network = train(place)
        assert dist.get_world_size() == 2
        tables = {name: getattr(record, name).to_dict("list") for name in ("units", "parameters", "steps")}
        found = {**tables, "notes": record.meta["notes"], "weights": network.state_dict()}
        torch.save(found, place / f"{train.__name__}-{os.environ['RANK']}.pt")
