"""The table of the paper's, public and own results, with what has not been run said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from full_training.published import FAIL, Entry
from full_training.running import Progress


def table_page(
    entries: Sequence[Entry], progress: Mapping[str, Progress], provenance: Mapping[str, Any]
) -> str:
    """Return the page as Markdown."""
    finished = sum(one.finished for one in progress.values())
    begun = sum(one.iteration > 0 for one in progress.values()) - finished
    rows = "\n".join(_row(entry, progress[entry.name]) for entry in entries)
    return (
        "# The paper's CIFAR-10 tables, trained in full\n\n"
        f"Of {len(entries)} runs {finished} are finished, {begun} are begun and "
        f"{len(entries) - finished - begun} have not been run. Errors are on the test data, in percent. The "
        "paper's are medians of five runs, `fail` is its word for more than 20 %; public ones are what each "
        "repository states; own ones are of one run, after the last iteration, on the data and by the recipe "
        "that the row says.\n\n"
        "| Run | Paper | In the paper | Public | Own | Iterations | Data and recipe |\n"
        "|---|---|---|---|---|---|---|\n"
        f"{rows}\n\n"
        f"Made by `{provenance['command']}`, torch {provenance['versions']['torch']}, "
        f"{provenance['written'][:10]}. The same command with more minutes goes on where it ended.\n"
    )


def _row(entry: Entry, progress: Progress) -> str:
    paper = FAIL if entry.paper == FAIL else f"{entry.paper:.2f}"
    public = ", ".join(f"{error:.2f} ({source})" for source, error in entry.public) or "–"
    if progress.iteration == 0:
        own = iterations = how = "not run"
    else:
        known = progress.last_error is not None
        own = f"{progress.last_error:.2f}" if known else "not tested yet"
        iterations = f"{progress.iteration:,} of {progress.length:,}"
        how = f"{progress.data}, {progress.recipe}"
        if not progress.finished:
            own = f"unfinished: {own}"
    cells = (entry.name, paper, entry.table, public, own, iterations, how)
    return f"| {' | '.join(cells)} |"
