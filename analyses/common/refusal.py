"""What gradflow refuses, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from gradflow.errors import GradflowError


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn what gradflow refuses into one line and exit status 2.

    Raises:
        click.ClickException: instead of a `GradflowError`.
    """
    try:
        yield
    except GradflowError as error:
        refused = click.ClickException(str(error))
        refused.exit_code = 2
        raise refused from error
