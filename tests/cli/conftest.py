"""The command line as tests run it: in this process for speed, in a fresh one where that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import gradflow
from gradflow.cli.entry import run


@dataclass(frozen=True)
class Result:
    """What a command did: its exit status, and what it printed where."""

    status: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line of a refusal, checked to be that."""
        assert self.status == 2
        assert self.stdout == ""
        (line,) = [line for line in self.stderr.splitlines() if line.startswith("gradflow: error: ")]
        assert "Traceback" not in self.stderr
        return line.removeprefix("gradflow: error: ")


Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command line in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        status = run(list(arguments))
        printed = capsys.readouterr()
        return Result(status, printed.out, printed.err)

    return call


@pytest.fixture
def process(tmp_path: Path) -> Cli:
    """Run the command line, or `python -c`, as a process of its own, in an empty directory."""
    environment = os.environ | {"PYTHONPATH": str(Path(gradflow.__file__).parents[1])}

    def call(*arguments: str, code: str | None = None) -> Result:
        how = ["-c", code] if code is not None else ["-m", "gradflow"]
        done = subprocess.run(
            [sys.executable, *how, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call
