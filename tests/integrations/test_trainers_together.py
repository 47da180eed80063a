"""The trainers of Lightning and transformers in two processes: the record is that of one with all samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import Chain, labels, rows, seeded
from torch.nn import functional as F
from two_processes import run_in_two_processes

import gradflow

HERE = Path(__file__).parent
SAMPLES, BATCH, RATE = 24, 8, 0.1
"""Of both processes together, as in `_in_two_processes.py`."""

COLUMNS = {
    "units": [
        *("batch", "x_norm", "branch_norm", "grad_in_norm", "grad_shortcut_norm", "grad_branch_norm"),
        *("survival_p50", "param_norm", "param_grad_norm"),
    ],
    "parameters": ["norm", "grad_norm"],
    "steps": ["iteration", "loss", "param_grad_norm"],
}

TRAINERS = {
    # The samples are dealt out one by one, and by accelerate in batches.
    "lightning": torch.arange(SAMPLES).reshape(-1, BATCH // 2, 2).transpose(1, 2).reshape(-1, BATCH),
    "hugging_face": torch.arange(SAMPLES).reshape(-1, BATCH),
}
"""The samples of each step, those of process 0 before those of process 1."""


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One job of two processes in which each trainer trains."""
    folder = tmp_path_factory.mktemp("job")
    run_in_two_processes(HERE / "_in_two_processes.py", str(folder))
    return folder


def alone(batches: torch.Tensor) -> tuple[gradflow.Record, dict[str, torch.Tensor]]:
    """Train one process on the batches of the job, and return what it records and the weights."""
    model = seeded(Chain)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    with gradflow.Recorder(model, every=2) as recorder:
        for batch in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(rows(SAMPLES)[batch]), labels(SAMPLES)[batch]).backward()
            optimizer.step()
            recorder.step()
    return recorder.record, model.state_dict()


def numbers(tables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the columns that are compared."""
    return {
        f"{table}.{name}": pd.DataFrame(tables[table])[name].to_numpy(float)
        for table, names in COLUMNS.items()
        for name in names
    }


@pytest.mark.parametrize("trainer", TRAINERS)
def test_each_process_records_what_one_with_all_samples_does(trainer: str, together: Path) -> None:
    """Values, gradients, loss and weights, at each measured step; process 0 has written the record."""
    record, weights = alone(TRAINERS[trainer])
    expected = numbers({table: getattr(record, table) for table in COLUMNS})
    assert record.steps["iteration"].tolist() == [0, 2]
    for rank in range(2):
        found = torch.load(together / f"{trainer}-{rank}.pt", weights_only=False)
        for name, values in numbers(found).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=name)
        for name, value in weights.items():
            torch.testing.assert_close(found["weights"][name], value)
        assert any("whole job of 2 processes" in note for note in found["notes"])
    written = gradflow.load_record(together / trainer)
    assert written.steps["loss"].tolist() == pytest.approx(record.steps["loss"].tolist(), rel=1e-4)
    # Half of the samples give other numbers: the comparison above can fail.
    half, _ = alone(TRAINERS[trainer][:, : BATCH // 2])
    own = numbers({table: getattr(half, table) for table in COLUMNS})
    assert not np.allclose(own["units.grad_in_norm"], expected["units.grad_in_norm"], rtol=1e-2)
