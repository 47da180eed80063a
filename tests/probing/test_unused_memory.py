"""What lies free between tensors goes back to the system; what is in use stays what it is."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import gradflow
from gradflow.probing import own_passes, unused_memory
from gradflow.probing.unused_memory import WORTHWHILE, give_back_beside

SIDE = 128
KEPT = 16

has_trim = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim")
of_glibc = pytest.mark.skipif(not has_trim, reason="only glibc can be asked for it")


def resident_mib() -> float:
    """Return how much of the system's memory this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4 / 1024


def tensors_with_gaps() -> list[torch.Tensor]:
    """Return a sixteenth of 64 MiB of tensors, of 64 KiB each, between which the others were."""
    made = [torch.full((SIDE, SIDE), float(number)) for number in range(1024)]
    return made[::KEPT]


@pytest.fixture(autouse=True)
def _grown(monkeypatch) -> None:
    """Let the process have grown, as far as anybody knows."""
    monkeypatch.setattr(unused_memory, "_PEAK", unused_memory.Peak())


@of_glibc
def test_nothing_is_done_while_the_process_does_not_grow() -> None:
    """Who asks again at the same peak is told no, and gaps stay where they are."""
    assert unused_memory._PEAK.has_risen()
    assert not give_back_beside([(WORTHWHILE,)])


@of_glibc
def test_gaps_go_back_and_tensors_stay() -> None:
    """The process shrinks by most of what was let go of, and nothing that is in use changes."""
    kept = tensors_with_gaps()
    before = resident_mib()
    assert give_back_beside([(WORTHWHILE,)])
    assert before - resident_mib() > 40
    assert [tensor.unique().tolist() for tensor in kept] == [
        [float(KEPT * index)] for index in range(len(kept))
    ]


@of_glibc
def test_nothing_is_done_for_small_tensors() -> None:
    """A negative control: the same gaps stay where what is measured is small."""
    kept = tensors_with_gaps()
    before = resident_mib()
    assert not give_back_beside([(2, 3), (WORTHWHILE - 7,)])
    assert abs(before - resident_mib()) < 5
    assert len(kept) == 1024 // KEPT


def test_other_c_libraries_are_left_alone(monkeypatch) -> None:
    """Where there is no such function nothing happens, and it is no error."""
    monkeypatch.setattr(unused_memory, "_trim", lambda: None)
    assert not give_back_beside([(WORTHWHILE,)])


class Chain(nn.Module):
    """Two residual units."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the units make of x."""
        for layer in self.layers:
            x = x + layer(x)
        return x


def test_a_recorder_asks_once_a_measured_step(monkeypatch) -> None:
    """It is asked for in measured steps alone, and told of the units' values."""
    asked: list[list[tuple[int, ...]]] = []
    monkeypatch.setattr(
        own_passes, "give_back_beside", lambda shapes: asked.append([tuple(shape) for shape in shapes])
    )
    torch.manual_seed(0)
    model = Chain()
    with gradflow.Recorder(model, every=2) as recorder:
        for _ in range(3):
            model(torch.ones(3, 4)).square().mean().backward()
            recorder.step()
    assert asked == [[(3, 4), (3, 4)]] * 2
