"""TensorBoard's event file, read back with TensorBoard's own reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from _records import make_record
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradflow.integrations.tensorboard import TensorBoard


def rows(*iterations: int) -> list[dict[str, float]]:
    """Return steps whose loss is a tenth of their iteration."""
    return [
        {"iteration": i, "loss": i / 10, "error": 0.5, "param_grad_norm": 2.0, "learning_rate": 0.1}
        for i in iterations
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_event_file_says_what_was_written(tmp_path: Path) -> None:
    """Scalars and figures are there at their iterations, and a resumed run replaces what came after it.

    Figures are of the beginning, and of the last measurement before each test.
    """
    first = TensorBoard(tmp_path)
    first.started(0, 10)
    first.stepped(rows(1, 2, 3, 4))
    for iteration in (0, 1, 2):
        first.measured(iteration, make_record(stages=(2, 2)))
    first.tested(2, 1.5, 0.25)
    first.saved(4)
    resumed = TensorBoard(tmp_path, 2)
    resumed.stepped([row | {"loss": 9.0} for row in rows(3)])
    resumed.saved(3)
    events = EventAccumulator(str(tmp_path)).Reload()
    losses = {event.step: event.value for event in events.Scalars("train/loss")}
    assert losses == pytest.approx({1: 0.1, 2: 0.2, 3: 9.0})
    assert [(event.step, event.value) for event in events.Scalars("test/error")] == [(2, 0.25)]
    (learning_rate, *_) = events.Scalars("train/learning rate")
    assert learning_rate.value == pytest.approx(0.1)
    ratios = events.Scalars("gradient flow/first unit over last")
    assert [event.step for event in ratios] == [0, 1, 2]
    figures = events.Images("gradient norm by depth")
    assert [figure.step for figure in figures] == [0, 2]
    assert all(figure.encoded_image_string.startswith(b"\x89PNG") for figure in figures)


def test_a_full_disk_is_told_by_the_next_call_and_by_nothing_else(tmp_path: Path) -> None:
    """The writer's thread ends by the error without printing it; the error itself comes out of a method."""
    code = """
import resource, sys, threading
from pathlib import Path
from gradflow.errors import RecordError
from gradflow.integrations.tensorboard import TensorBoard
hook = threading.excepthook
board = TensorBoard(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    for iteration in range(1, 2000):
        board.stepped([{"iteration": iteration, "loss": 1.0}])
        board.saved(iteration)
except RecordError as error:
    print(error)
try:
    board.ended()
except RecordError:
    pass
assert threading.excepthook is hook
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "events")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "events" in done.stdout
    assert "Traceback" not in done.stderr
