"""The group of commands: what it loads, and what it exits with."""

from __future__ import annotations

import re

import click
import pytest

import gradflow
from gradflow.cli import entry, main
from gradflow.cli.entry import COMMANDS, application, run


def test_help_loads_nothing_heavy(process) -> None:
    """`gradflow --help` imports neither torch nor pandas nor rich, so that it answers at once."""
    result = process(
        code="import sys; from gradflow.cli.entry import run; run(['--help'])\n"
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'rich') if name in sys.modules])"
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "gradflow probe --model preact164" in result.stdout


def test_version_is_the_packages(cli) -> None:
    """`--version` prints the version of the package."""
    assert cli("--version").stdout == f"gradflow {gradflow.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(cli, name: str) -> None:
    """Each listed command has help of its own, and its summary in the list."""
    result = cli(name, "--help")
    assert result.status == 0
    assert f"Usage: gradflow {name}" in result.stdout
    assert COMMANDS[name] in cli("--help").stdout
    assert isinstance(application.get_command(click.Context(application), name), click.Command)


def test_without_a_command_help_goes_to_standard_error(cli) -> None:
    """No command is no valid call: help on standard error, status 2."""
    result = cli()
    assert (result.status, result.stdout) == (2, "")
    assert "Usage: gradflow" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prob"], r"No such command 'prob'"),
        (["probe"], r"Missing option '--model'.*gradflow probe --help"),
        (
            ["probe", "--model", "preact20", "--batch-size", "0"],
            r"'--batch-size': 0 is not in the range x>=1",
        ),
        (["probe", "--model", "preact20", "--batches", "-1"], r"'--batches': -1 is not in the range"),
        (
            ["probe", "--model", "preact20", "--input-shape", "3x32"],
            r"'3x32' is no shape; expected .*3,224,224",
        ),
        (["probe", "--model", "preact20", "--seeds", "9-0"], r"'9-0' is no range"),
        (
            ["probe", "--model", "preact20", "--seeds", "a"],
            r"'a' is no list of numbers; expected 0-9 or 0,3,5",
        ),
        (["probe", "--model", "preact20", "--seed", "1", "--seeds", "1"], r"--seed or --seeds, not both"),
        (["probe", "--model", "preact20", "--units", "("], r"'\(' is no regular expression"),
        (
            ["probe", "--model", "preact20", "--bn", "none"],
            r"'none' is not one of 'batch', 'running', 'frozen'",
        ),
        (["probe", "--model", "preact20", "--force"], r"--force replaces what --out names; give --out too"),
        (["check", "--model", "preact20", "--equations", "4,10"], r"equation '10'.*expected some of 1, 2, 3"),
        (["check", "--model", "preact20", "--spans", "5-5"], r"'5-5' is no span"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(cli, arguments: list[str], message: str) -> None:
    """A wrong option is refused with a line that names the option, what came and what was expected."""
    error = cli(*arguments).error
    assert re.search(message, error), error


def test_main_exits_with_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    """The script's entry point ends the process with the command's status."""
    with pytest.raises(SystemExit, match="2"):
        main(["nonsense"])
    assert "gradflow: error: " in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is nobody's bad input is not dressed up as one."""
    monkeypatch.setattr(entry.application, "main", _raising(ZeroDivisionError("a defect")))
    with pytest.raises(ZeroDivisionError, match="a defect"):
        run([])


def test_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With GRADFLOW_TRACEBACK set, a refusal shows where it came from."""
    monkeypatch.setenv("GRADFLOW_TRACEBACK", "1")
    with pytest.raises(click.UsageError, match="No such command"):
        run(["prob"])


def test_ctrl_c_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupt ends with one line and the status that shells expect."""
    monkeypatch.setattr(entry.application, "main", _raising(KeyboardInterrupt()))
    assert run([]) == 130
    assert capsys.readouterr().err == "gradflow: interrupted; nothing half-written is left\n"


def _raising(error: BaseException):
    def raising(*arguments: object, **options: object) -> None:
        raise error

    return raising
