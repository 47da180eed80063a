"""Several processes under torchrun: the gradients of one that does their parts in turn, and a dead one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from _runs import small_model, write_images

import gradflow
from gradflow.cli.entry import run as command_line
from gradflow.determinism import preserved_random_state, set_random_state
from gradflow.errors import TrainingError
from gradflow.record import load_record
from gradflow.training import Job
from gradflow.training.job import joined

OPTIONS = (
    *("train", "--model", "preact8", "--width", "4", "--input-shape", "3,8,8", "--recipe", "he2016-short"),
    *("--probe-every", "3", "--check-every", "0", "--probe-batch-size", "8", "--test-every", "6"),
    *("--checkpoint-every", "3", "--batch-size", "8", "--quiet"),
)


def start(folder: Path, out: str, *more: str) -> subprocess.Popen[str]:
    """Start a job of two processes under torchrun that trains on the images in `folder`."""
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    return subprocess.Popen(
        [
            *(sys.executable, *launcher, "-m", "gradflow", *OPTIONS),
            *(f"--data=folder:{folder}", f"--out={folder / out}", *more),
        ],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_two_processes_train_as_one_that_takes_their_parts_in_turn(tmp_path: Path) -> None:
    """Weights, losses and gradient norms are those of one process that averages the same two parts."""
    write_images(tmp_path)
    job = start(tmp_path, "job", "--iterations", "6")
    for name, parts in (("alone", 2), ("whole", 1)):
        place = (f"--data=folder:{tmp_path}", f"--out={tmp_path / name}")
        assert command_line([*OPTIONS, *place, "--iterations=6", f"--accumulate={parts}"]) == 0
    _, said = job.communicate(timeout=240)
    assert job.returncode == 0, said
    models = {
        out: torch.load(tmp_path / out / "checkpoints/newest.pt")["model"]
        for out in ("job", "alone", "whole")
    }
    learned = [name for name in models["job"] if "running" not in name and "num_batches" not in name]
    for name in learned:
        torch.testing.assert_close(models["job"][name], models["alone"][name], rtol=1e-5, atol=1e-7)
    # Per-process BN is not whole-batch BN: the comparison above can fail.
    assert not all(torch.allclose(models["job"][name], models["whole"][name], rtol=1e-3) for name in learned)
    steps = {out: load_record(tmp_path / out).steps for out in ("job", "alone")}
    for column in ("loss", "error", "param_grad_norm"):
        assert steps["job"][column].tolist() == pytest.approx(steps["alone"][column].tolist(), rel=1e-5)
    training = load_record(tmp_path / "job").meta["training"]
    assert training["processes"] == 2
    assert training["batch_norm"] == "in each process over its own samples"
    assert len(load_record(tmp_path / "job").units) == 3 * 3  # only process 0 measures: 3 units, 3 times


def test_a_dead_process_ends_the_job_and_it_resumes(tmp_path: Path) -> None:
    """When one process is killed the job ends with an error; its checkpoint goes on, random numbers too."""
    write_images(tmp_path)
    options = ("--iterations", "3000", "--shortcut", "dropout:0.5")
    job = start(tmp_path, "run", *options)
    newest = tmp_path / "run/checkpoints/newest.pt"
    deadline = time.monotonic() + 240
    while not newest.exists() or torch.load(newest)["iteration"] < 3:
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(_child_of_rank(job.pid, 1), signal.SIGKILL)
    _, said = job.communicate(timeout=240)
    assert job.returncode not in {0, None}
    assert "ChildFailedError" in said
    assert "another process of the job has died" in said
    kept = torch.load(newest)
    reached = kept["iteration"]
    assert 3 <= reached < 3000
    assert load_record(tmp_path / "run").meta["training"]["iteration"] >= reached
    # A limit of no time ends it as soon as the processes ask one another.
    resumed = start(tmp_path, "run", *options, "--resume", "--stop-after", "0")
    _, said = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, said
    again = torch.load(newest)
    assert again["iteration"] > reached
    # Process 1 went on in its own sequence: what it drew since is what its steps draw, whatever the weights.
    model = gradflow.build_model("preact8", width=4, shortcut="dropout:0.5").train()
    with preserved_random_state():
        set_random_state(kept["random"][1])
        for _ in range(again["iteration"] - reached):
            model(torch.zeros(4, 3, 8, 8))
        assert torch.equal(torch.random.get_rng_state(), again["random"][1]["torch"])
    assert not torch.equal(again["random"][0]["torch"], again["random"][1]["torch"])


def test_no_thread_of_a_job_outlives_it(tmp_path: Path) -> None:
    """A thread of the group that is left when a process ends can abort it, after all its work is done."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import torch
from pathlib import Path
from gradflow.training.job import joined

def threads():
    return sum("gloo" in (task / "comm").read_text() for task in Path("/proc/self/task").iterdir())

with joined("cpu") as job:
    averaging = job.averaging(torch.nn.Linear(2, 2))
    averaging(torch.ones(1, 2)).sum().backward()
    job.from_each(0)
    del averaging
    inside = threads()
print(f"rank {job.rank}: {inside > 0}, {threads()} left")
"""
    )
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    said = subprocess.run([*launcher, script], env=_environment(), capture_output=True, text=True, check=True)
    assert sorted(said.stdout.splitlines()) == ["rank 0: True, 0 left", "rank 1: True, 0 left"]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def _child_of_rank(parent: int, rank: int) -> int:
    """Return the process that torchrun `parent` started as `rank`."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "stat").read_text().rpartition(")")[2].split()
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:  # gone, or another user's
            continue
        if int(words[1]) == parent and f"RANK={rank}".encode() in environment:
            return int(process.name)
    raise AssertionError(f"torchrun {parent} has no process of rank {rank}")


def test_ctrl_c_ends_a_job_with_a_checkpoint(tmp_path: Path) -> None:
    """The launcher hands the signal on; the processes agree after the step that they are in, and save."""
    write_images(tmp_path)
    job = start(tmp_path, "run", "--iterations", "100000", "--checkpoint-every", "100000")
    newest = tmp_path / "run/checkpoints/newest.pt"
    deadline = time.monotonic() + 240
    while not newest.exists():
        assert job.poll() is None, job.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2)
    os.kill(job.pid, signal.SIGINT)
    job.communicate(timeout=240)
    assert torch.load(newest)["iteration"] > 0
    assert len(load_record(tmp_path / "run").steps) == torch.load(newest)["iteration"]


def test_a_divergence_is_told_once(tmp_path: Path) -> None:
    """All processes stop at the same step, and one of them says why."""
    write_images(tmp_path)
    job = start(tmp_path, "run", "--iterations", "40", "--learning-rate", "1e30")
    _, said = job.communicate(timeout=240)
    assert job.returncode != 0
    assert said.count("training diverged") == 1


@pytest.mark.parametrize(("rank", "expected"), [(0, ["inside", "wait"]), (1, ["wait", "inside"])])
def test_the_first_process_goes_first(
    rank: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Process 0 meets the others after its turn, they meet it before theirs."""
    order: list[str] = []
    monkeypatch.setattr(torch.distributed, "barrier", lambda: order.append("wait"))
    with Job(rank, 2, torch.device("cpu")).first_before_others():
        order.append("inside")
    assert order == expected


def test_more_processes_than_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, before anything waits for the others."""
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "3"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainingError, match="there are 2; start it with --nproc-per-node 2"), joined("cuda"):
        pass


def test_parts_are_disjoint_and_complete() -> None:
    """The parts of all processes make up the batch, each image once, in the order of one process's parts."""
    device = torch.device("cpu")
    taken = [
        Job(rank, 2, device).part(24, accumulate=3, index=index) for index in range(3) for rank in range(2)
    ]
    assert [number for part in taken for number in range(24)[part]] == list(range(24))
    alone = [Job(0, 1, device).part(24, accumulate=6, index=index) for index in range(6)]
    assert alone == taken


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    """The line says which batch sizes can."""
    with pytest.raises(TrainingError, match="take a --batch-size that is a multiple of 6"):
        Job(0, 2, torch.device("cpu")).part(16, accumulate=3, index=0)


def test_one_process_averages_with_nobody() -> None:
    """In a job of one process the network itself is trained, and every value is its own."""
    job = Job(0, 1, torch.device("cpu"))
    model = small_model()
    assert job.averaging(model) is model
    assert job.mean(torch.tensor([2.0])).item() == 2
    assert job.from_first("here") == "here"
    assert job.from_each("here") == ["here"]
    assert job.any(flag=True)
    assert not job.any(flag=False)
    assert job.batch_norm() == "over the samples of each part of a batch"
