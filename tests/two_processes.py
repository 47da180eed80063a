"""A real job of two processes, as `torchrun` starts it on one machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gradflow


def run_in_two_processes(script: Path, *arguments: str) -> None:
    """Run a script of a folder of tests in two processes, which must both end well.

    Args:
        script: may import what lies in the folder above its own.
        arguments: of the script.
    """
    package = Path(gradflow.__file__).parents[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *(str(script), *arguments),
        ],
        env=os.environ | {"PYTHONPATH": f"{package}:{script.parent.parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
