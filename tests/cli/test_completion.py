"""Shell completion: the script, and words that it offers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def complete(words: str, index: int, instruction: str = "bash_complete") -> str:
    """Return what a shell is told."""
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(index), "_GRADFLOW_COMPLETE": instruction}
    done = subprocess.run(
        [sys.executable, "-m", "gradflow"],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    """It asks gradflow itself for the words."""
    assert "_GRADFLOW_COMPLETE" in complete("", 0, f"{shell}_source")


def test_commands_and_choices_are_offered() -> None:
    """Commands by their first letters, and what an option may be."""
    assert complete("gradflow pr", 1).split() == ["plain,probe"]
    assert "plain,x_norm" in complete("gradflow diff --quantity x", 3)
    assert "plain,json" in complete("gradflow show --format j", 3)
