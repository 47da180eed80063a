"""What every test gets: quiet, repeatable, off the network and away from the checkout."""

from __future__ import annotations

import os

import matplotlib as mpl
import pytest
import torch

# What tests expect are the host's numbers, also where there is a device. Those in cuda/ are about that, and
# want it made visible.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
mpl.use("Agg")  # no test opens a window
torch.set_num_threads(1)  # tests run side by side; more threads than cores only wait for each other


@pytest.fixture(autouse=True)
def _no_display_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's terminal settings must not change what the tests see."""
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
