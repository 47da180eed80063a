"""Recorders in the processes of a job: numbers of one process with all samples, and nobody waits for ever."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from torch import nn
from torch.nn import functional as F
from two_processes import run_in_two_processes

import gradflow
from gradflow.record import conform

HERE = Path(__file__).parent
BATCH = 6


def job(folder: Path, *ways: str) -> dict[str, list[Any]]:
    """Run `_together.py` in two processes, and return what each found, by way."""
    run_in_two_processes(HERE / "_together.py", ",".join(ways), str(folder))
    return {
        way: [torch.load(folder / f"{way}-{rank}.pt", weights_only=False) for rank in range(2)]
        for way in ways
    }


def order() -> torch.Tensor:
    """Return the samples in the order of the processes: first all of process 0."""
    return torch.cat([torch.arange(rank, BATCH, 2) for rank in range(2)])


def alone(steps: int, every: int) -> gradflow.Record:
    """Train one process on the whole batch, as the job is to be, and return what it records."""
    model = seeded(Chain)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradflow.Recorder(model, every=every) as recorder:
        for step in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model((rows(BATCH) + step)[order()]), labels(BATCH)[order()]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            recorder.step()
    return recorder.record


def assert_same(found: dict[str, Any], expected: gradflow.Record, *, but: tuple[str, ...] = ()) -> None:
    """Insist that what a process found is what one process with all samples does."""
    for table in ("units", "parameters", "steps"):
        one, other = conform(table, pd.DataFrame(found[table])), getattr(expected, table)
        assert list(one) == list(other)
        for column in other.columns.drop(["additivity_error", *but], errors="ignore"):
            if other[column].dtype == np.float64:
                np.testing.assert_allclose(one[column], other[column], rtol=2e-5, atol=1e-8, err_msg=column)
            else:
                assert one[column].astype(str).tolist() == other[column].astype(str).tolist(), column


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Any]]]:
    """One job of two processes that trains in several ways, one after the other."""
    folder = tmp_path_factory.mktemp("job")
    ways = (
        "ddp",
        "ddp_without_recorder",
        "ddp_accumulating",
        "ddp_alone",
        "fsdp",
        "fsdp_in_part",
        "fsdp_ignoring",
        "fsdp_of_nothing_that_learns",
        "fsdp_accumulating",
        "fsdp_blocks",
        "fsdp_gated",
    )
    return folder, job(folder, *ways)


def test_ddp_is_measured_as_one_process_with_all_samples(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """Every column, in each process, at each measured step, quantiles over samples included."""
    _, found = together
    expected = alone(3, 2)
    for one in found["ddp"]:
        assert_same(one, expected)
        assert one["batch_size"] == BATCH
        assert one["modes"] == 0
        assert any("whole job of 2 processes" in note for note in one["notes"])
    # A process by itself measures something else: the comparison above can fail.
    (own,) = (one for one in found["ddp_alone"] if one)
    assert own["batch_size"] == BATCH // 2
    norms = expected.units["grad_in_norm"].tolist()[:3]
    assert own["units"]["grad_in_norm"] != pytest.approx(norms, rel=1e-2)


def test_only_the_first_process_writes(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """The record and the logger's files are there once, with each measurement once."""
    folder, found = together
    record = gradflow.load_record(folder / "record")
    assert record.steps["iteration"].tolist() == [0, 2]
    assert record.units["grad_in_norm"].tolist() == found["ddp"][0]["units"]["grad_in_norm"]
    assert len((folder / "csv/steps.csv").read_text().splitlines()) == 3


def test_ddp_trains_the_same(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """Weights after three steps are bit for bit those of a job without recorders."""
    _, found = together
    for one, other in zip(found["ddp"], found["ddp_without_recorder"], strict=True):
        for name, value in other["weights"].items():
            assert torch.equal(one["weights"][name], value), name


def test_ddp_that_accumulates(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """Under `no_sync`, and with checkpointing, the first part's gradient is that of the whole job."""
    _, found = together
    for one in found["ddp_accumulating"]:
        assert_same(one, alone(1, 1))


def test_fsdp_is_measured_as_one_process_with_all_samples(
    together: tuple[Path, dict[str, list[Any]]],
) -> None:
    """Sharded parameters have the norms of whole ones, whatever factor they are reduced with."""
    folder, found = together
    for one in found["fsdp"]:
        assert_same(one, alone(1, 2))
    assert gradflow.load_record(folder / "sharded").steps["iteration"].tolist() == [0]


@pytest.mark.parametrize("way", ["fsdp_in_part", "fsdp_ignoring"])
def test_fsdp_that_leaves_parameters_alone(way: str, together: tuple[Path, dict[str, list[Any]]]) -> None:
    """Parameters that are not sharded are averaged over the processes, the others by what they are more."""
    _, found = together
    for one in found[way]:
        assert_same(one, alone(1, 2))
        assert one["skipped"] == []
        factors = [note for note in one["notes"] if "times the gradient of the mean" in note]
        assert all(re.search(r"optimiser \d+ times", note) for note in factors), factors


def test_fsdp_in_which_nothing_sharded_learns(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """The other parameters have their gradients, as if nothing were sharded."""
    _, found = together
    expected = alone(1, 2)
    learns = [not name.startswith("stem.") for name in expected.parameters["name"]]
    for one in found["fsdp_of_nothing_that_learns"]:
        norms = pd.DataFrame(one["parameters"])["grad_norm"]
        np.testing.assert_allclose(norms[learns], expected.parameters["grad_norm"][learns], rtol=2e-5)
        assert one["skipped"] == []


def test_fsdp_that_accumulates_says_what_it_does_not_know(
    together: tuple[Path, dict[str, list[Any]]],
) -> None:
    """Gradients on top of earlier ones are left out, with the reason; a process alone is refused."""
    _, found = together
    for one in found["fsdp_accumulating"]:
        assert_same(one, alone(1, 1), but=("grad_norm", "param_grad_norm"))
        assert np.isnan(one["parameters"]["grad_norm"]).all()
        assert [item["what"] for item in one["skipped"]] == ["gradients of parameters"]
        assert "can only be measured by all of them together" in one["error"]


def test_fsdp_with_named_blocks(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """A block that is named and sharded for itself has its own parameters' norms."""
    _, found = together
    for one in found["fsdp_blocks"]:
        assert one["units"]["param_norm"] == pytest.approx([one["norm"]], rel=1e-6)
        squares = [
            norm**2
            for name, norm in zip(one["parameters"]["name"], one["parameters"]["grad_norm"], strict=True)
            if name.startswith("1.")
        ]
        assert one["units"]["param_grad_norm"] == pytest.approx([sum(squares) ** 0.5], rel=1e-6)


def test_fsdp_with_gates_is_refused(together: tuple[Path, dict[str, list[Any]]]) -> None:
    """What takes a second backward pass is refused in each process, and nothing stays attached."""
    _, found = together
    for one in found["fsdp_gated"]:
        assert "not possible with fully_shard" in one["error"]
        assert one["modes"] == 0


def test_nobody_waits_for_ever(tmp_path: Path) -> None:
    """A process that stops measuring, leaves, never begins, or is at another step: an error of the others."""
    found = job(tmp_path, "stops", "leaves", "other_cadence", "never_enters")
    stopped = found["stops"][0]
    assert (
        "process 0 waited for the job's 2 processes to measure iteration 1, for at most 3 s"
        in stopped["error"]
    )
    assert stopped["seconds"] < 3 * 3
    assert stopped["steps"]["iteration"] == [0]  # what was measured before is kept
    assert stopped["modes"] == 0
    assert "process 1 waited for the job's 2 processes to leave" in found["stops"][1]["error"]
    for one in found["leaves"]:
        assert re.search("process 0 (is about )?to measure iteration 1", one["error"])
        assert one["seconds"] < 3
    never = found["never_enters"][0]
    assert "2 processes to enter a gradflow.Recorder, for at most 3 s" in never["error"]
    assert never["seconds"] < 3 * 3
    for rank, one in enumerate(found["other_cadence"]):
        assert f"process {rank} is about to measure iteration {rank}" in one["error"]
