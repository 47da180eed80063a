"""The `gradflow` command: assembles the commands, and turns every failure into a line and a status.

A command's module is imported when the command is named, so `gradflow --help` waits for nothing and
`gradflow report` never loads torch.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

import gradflow
from gradflow.cli.encoding import fit_to_encoding
from gradflow.cli.failures import describe_failure

COMMANDS = {
    "probe": "Measure how gradients flow through a network, unit by unit.",
    "check": "Check equations 1 to 9 of He et al. 2016 on a network.",
    "spectrum": "Find the singular values of branches' and spans' Jacobians.",
    "paths": "Find how much gradient comes through paths of each length.",
    "lesions": "Find how loss and error change without units.",
    "train": "Train by a recipe, with the gradient flow recorded alongside.",
    "show": "Print what a run holds.",
    "diff": "Compare two runs, unit by unit.",
    "report": "Make a page with figures from probed runs.",
    "models": "List the networks that can be named in --model.",
}
"""Every command and its summary; `gradflow.cli.<command>.command` is its implementation."""


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which one uses them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"gradflow.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from their summaries, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gradflow.__version__, prog_name="gradflow", message="%(prog)s %(version)s")
def application() -> None:
    """See how gradients flow through residual networks.

    \b
      gradflow probe --model preact164      # measure; the result goes into runs/
      gradflow report                       # a page of figures from runs/, in reports/

    Exit status: 0 done; 1 a check that was expected to hold failed, or a unit met a condition of
    --fail-on; 2 the call, the checkpoint or the data is unusable; 130 interrupted.
    """  # noqa: D301 - the backspace is click's mark for "keep these lines as they are"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        arguments: words after the program's name; the process's own if None.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; a failure is one line on standard error.

    With GRADFLOW_TRACEBACK in the environment, failures keep their traceback.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        fit_to_encoding(stream)
    try:
        # The words go along as the context's object: a record says with which command it was made.
        status = application.main(words, prog_name="gradflow", standalone_mode=False, obj=tuple(words))
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except BrokenPipeError:
        # The reader of a pipe has seen enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except BaseException as error:
        if "GRADFLOW_TRACEBACK" in os.environ:
            raise
        failure = describe_failure(error)
        if failure is None:
            raise
        click.echo(f"gradflow: {failure.message}", err=True)
        return failure.status
    return status if isinstance(status, int) else 0
