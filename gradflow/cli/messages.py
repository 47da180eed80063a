"""What is said on standard error while a command works."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")


def say(message: str) -> None:
    """Print one line on standard error."""
    click.echo(f"gradflow: {message}", err=True)


def with_progress(items: Iterable[Item], count: int, doing: str) -> Iterator[Item]:
    """Yield `items`; show how many of `count` are done where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(doing, total=count)
        for item in items:
            yield item
            progress.advance(task)
