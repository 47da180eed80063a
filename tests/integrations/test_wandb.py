"""A run of Weights & Biases, offline, read back from its file without wandb's client."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from _records import make_record
from small_networks import Chain, labels, rows, seeded
from torch.nn import functional as F
from wandb.proto import wandb_internal_pb2

import gradflow
from gradflow.integrations.wandb import WandbLogger

_BLOCK = 32768


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings and caches stay in the test's folder, and it reports its errors to nobody."""
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for what in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{what}_DIR", str(tmp_path / what.lower()))


def entries(path: Path) -> Iterator[bytes]:
    """Yield the entries of a LevelDB log, which is what an offline run is kept in.

    Seven bytes of wandb's own stand in front; each block holds chunks with a checksum, a length and a type:
    1 a whole entry, 2, 3 and 4 its first, middle and last chunk.
    """
    data, at, begun = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if _BLOCK - at % _BLOCK < 7:
            at += _BLOCK - at % _BLOCK
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == 0:
            return
        begun += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            yield begun
            begun = b""


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return what the offline run in `folder` logged, step by step."""
    wandb.teardown()  # its process writes the file, and has closed it once it has ended
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    found = []
    for entry in entries(path):
        record = wandb_internal_pb2.Record.FromString(entry)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append(
                {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            )
    return found


def offline(folder: Path) -> wandb.Run:
    """Return a run that writes to `folder` and says nothing."""
    return wandb.init(mode="offline", dir=folder, project="gradflow", settings=wandb.Settings(silent=True))


def test_a_run_holds_what_was_measured_beside_what_its_user_logs(tmp_path: Path) -> None:
    """Metrics of each measurement by iteration, figures of the first and the last, and the user's own."""
    model = seeded(Chain)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        offline(tmp_path) as run,
        gradflow.Recorder(model, every=2, loggers=[WandbLogger(run)]) as recorder,
    ):
        for number in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(rows()), labels()).backward()
            optimizer.step()
            recorder.step()
            run.log({"mine": number})
    steps = logged(tmp_path)
    assert [step["mine"] for step in steps if "mine" in step] == [0, 1, 2, 3, 4]
    measured = {step["gradient flow/iteration"]: step for step in steps if "gradient flow/loss" in step}
    assert list(measured) == [0, 2, 4]
    record = recorder.record
    for iteration, step in measured.items():
        rows_ = record.units[record.units["iteration"] == iteration]
        written = [
            step[f"gradient flow/grad_in_norm/{row.unit:03d} {row.name}"] for row in rows_.itertuples()
        ]
        assert written == rows_["grad_in_norm"].tolist()
        assert step["gradient flow/first unit over last"] == pytest.approx(written[0] / written[-1])
    losses = [step["gradient flow/loss"] for step in measured.values()]
    assert losses == record.steps["loss"].tolist()
    drawn = [step for step in steps if "gradient flow/gradient norm by depth/path" in step]
    assert [step["gradient flow/iteration"] for step in drawn] == [0, 4]
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/**/*.png"))) == 4


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    """Neither NaN nor infinity reaches the run; what is finite does."""
    record = make_record(stages=(2, 2))
    record.units.loc[1, "grad_in_norm"] = math.nan
    record.steps["loss"] = math.inf
    with offline(tmp_path) as run:
        WandbLogger(run).measured(3, record)
    (step,) = (step for step in logged(tmp_path) if "gradient flow/iteration" in step)
    assert "gradient flow/loss" not in step
    norms = [name.split("/")[2][:3] for name in step if name.startswith("gradient flow/grad_in_norm/")]
    assert sorted(norms) == ["000", "002", "003"]
    assert all(math.isfinite(value) for value in step.values())
