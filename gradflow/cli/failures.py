"""What each kind of failure means to whoever called: one line, and an exit status.

Torch and pandas are not imported here: by the time that they fail, they have been.
"""

from __future__ import annotations

from dataclasses import dataclass

import click

from gradflow.errors import GradflowError

CHECK_FAILED = 1
UNUSABLE = 2
INTERRUPTED = 130

_LONGEST_PATH = 120
"""Characters of a path that a message repeats; a path that is too long is what is wrong with it."""


@dataclass(frozen=True)
class Failure:
    """The line to print and the status to exit with."""

    message: str
    status: int


def describe_failure(error: BaseException) -> Failure | None:
    """Return what to tell about `error`; None if it is a defect of gradflow, which needs its traceback."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Failure("interrupted; nothing half-written is left", INTERRUPTED)
    if isinstance(error, click.UsageError):
        where = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _unusable(error.format_message() + where)
    if isinstance(error, click.ClickException):
        return _unusable(error.format_message())
    if isinstance(error, GradflowError):
        return _unusable(str(error))
    if isinstance(error, ImportError):
        return _unusable(
            f"{error.name or 'a dependency'} cannot be imported ({error}); "
            "run: pip install --force-reinstall gradflow"
        )
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return _unusable("not enough memory; lower --batch-size, or use a shallower --model")
    if isinstance(error, OSError) and error.errno is not None:
        return _unusable(f"cannot use {_shortened(str(error.filename or 'the output'))}: {error.strerror}")
    return None


def _unusable(message: str) -> Failure:
    return Failure(f"error: {_one_line(message)}", UNUSABLE)


def _shortened(path: str) -> str:
    return path if len(path) <= _LONGEST_PATH else f"{path[:_LONGEST_PATH]}…"


def _one_line(message: str) -> str:
    return " ".join(message.split())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch could not allocate: CUDA has a class for it, the CPU allocator only a message."""
    if not isinstance(error, RuntimeError):
        return False
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
