"""Training on a CUDA device: recorders under a scaler and under `torch.compile`, and `gradflow train`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from _runs import write_images
from small_networks import labels
from torch import nn

import gradflow
from gradflow.record import load_record

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device is visible: CUDA_VISIBLE_DEVICES=0"
)


def network() -> nn.Module:
    """Return a narrow network of the zoo on the device, in training."""
    return gradflow.build_model("preact20", width=8, seed=0).cuda().train()


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and targets on the device."""
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return images.cuda(), labels(8, 10).cuda()


def test_a_scaler_is_taken_out_of_half_precision_gradients() -> None:
    """Under float16 autocast, numbers are those of the loss, and a step that the scaler skips is noted."""
    images, targets = batch()
    plain = network()
    with gradflow.Recorder(plain, every=1) as expected:
        F.cross_entropy(plain(images), targets).backward()
        expected.step()
    scaled = network()
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
    optimizer = torch.optim.SGD(scaled.parameters(), lr=0.05)
    with gradflow.Recorder(scaled, every=1, scaler=scaler) as recorder:
        for factor in (1.0, float("inf")):
            optimizer.zero_grad()
            with torch.autocast("cuda", dtype=torch.float16):
                loss = F.cross_entropy(scaled(images), targets)
            scaler.scale(loss * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            recorder.step()
    first = recorder.record.units["iteration"] == 0
    for column in ("grad_in_norm", "grad_branch_norm", "param_grad_norm", "x_norm"):
        assert recorder.record.units.loc[first, column].tolist() == pytest.approx(
            expected.record.units[column].tolist(), rel=0.02
        )
    assert [note for note in recorder.record.meta["notes"] if "skips this step" in note]
    assert scaler.get_scale() == 2.0**9


def test_a_recorder_changes_nothing_and_keeps_nothing() -> None:
    """Ten steps, every second one measured, end with the bits of ten plain ones; memory is flat."""
    images, targets = batch()

    def trained(recorded: bool) -> tuple[list[torch.Tensor], list[int]]:
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        held = []
        with gradflow.Recorder(
            model, every=2 if recorded else 10**6, iteration=int(not recorded)
        ) as recorder:
            for _ in range(10):
                optimizer.zero_grad()
                F.cross_entropy(model(images), targets).backward()
                optimizer.step()
                recorder.step()
                torch.cuda.synchronize()
                held.append(torch.cuda.memory_allocated())
        return [parameter.detach() for parameter in model.parameters()], held

    with torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        plain, _ = trained(recorded=False)
        recorded, held = trained(recorded=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, recorded, strict=True))
    assert len(set(held[3:])) == 1


@pytest.mark.filterwarnings("default")  # the compiler's own, about the device
def test_a_compiled_network_is_measured_by_its_eager_module() -> None:
    """What `torch.compile` made for the device runs between measurements, and its eager module in them."""
    images, targets = batch()
    model = network()
    compiled = torch.compile(model)
    with gradflow.Recorder(compiled, every=2) as recorder:
        for _ in range(4):
            F.cross_entropy(compiled(images), targets).backward()
            recorder.step()
    assert sorted(recorder.record.units["iteration"].unique()) == [0, 2]
    assert len(recorder.record.units) == 2 * 9


TRAIN = (
    *("train", "--model", "preact8", "--width", "4", "--input-shape", "3,8,8", "--data", "folder:."),
    *("--recipe", "he2016-short", "--iterations", "6", "--batch-size", "8", "--probe-batch-size", "8"),
    *("--probe-every", "2", "--check-every", "3", "--test-every", "6", "--checkpoint-every", "2"),
    *("--device", "cuda"),
)


def command(place: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> str:
    """Run `gradflow` in a process of its own, in `place`; return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "gradflow", *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_that_measures_runs_on_the_device(tmp_path: Path) -> None:
    """A training run in two parts leaves what one on the host does, and what is measured of it holds."""
    write_images(tmp_path)
    command(tmp_path, *TRAIN, "--out", "run", "--stop-after", "0")
    command(tmp_path, *TRAIN, "--out", "run", "--resume")
    record = load_record(tmp_path / "run")
    assert record.meta["device"] == "cuda"
    assert sorted(record.units["iteration"].unique()) == [0, 2, 3, 4, 6]
    held = record.checks[record.checks["expected_to_hold"]]
    assert held["holds"].all(), held.loc[~held["holds"], ["equation", "form", "dtype", "error", "tolerance"]]
    small = ("--model", "preact8", "--width", "4", "--input-shape", "3,8,8", "--num-classes", "4")
    on_trained = (
        *(*small, "--checkpoint", "run/checkpoints/newest.pt", "--data", "folder:."),
        *("--batch-size", "8", "--device", "cuda"),
    )
    tested = command(tmp_path, "probe", *on_trained, "--self-test", "--format", "json")
    assert json.loads(tested)["self_test"]["passed"]
    command(tmp_path, "probe", *on_trained, "--out", "probed")
    assert load_record(tmp_path / "probed").meta["device"] == "cuda"
    command(tmp_path, "check", *on_trained, "--out", "checked")
    command(tmp_path, "spectrum", *on_trained, "--out", "spectrum")
    command(tmp_path, "paths", *on_trained, "--out", "paths")


def test_one_process_of_a_job_takes_its_own_device(tmp_path: Path) -> None:
    """`torchrun` with as many processes as devices trains, over nccl where there are several."""
    write_images(tmp_path)
    launcher = ("-m", "torch.distributed.run", f"--nproc-per-node={torch.cuda.device_count()}")
    command(tmp_path, *TRAIN, "--out", "run", launcher=launcher)
    assert load_record(tmp_path / "run").meta["training"]["iteration"] == 6
