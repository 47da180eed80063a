"""The numbers of a training run's curves, as a table."""

from __future__ import annotations

import numpy as np

from gradflow.report.runs import Run
from gradflow.report.tables import Head, Table, heads_of

MOST_ROWS = 60
"""Of more steps some are shown: the first, the last, those with a test, and others evenly."""

_SHOWN = ("learning_rate", "loss", "error", "test_loss", "test_error")


def training_table(run: Run) -> Table:
    """Return loss and error by iteration, of a run that was recorded while it trained; else no row."""
    if run.network.over_time is None:
        return Table([], run.record.steps.head(0))
    steps = run.network.over_time.steps
    tested = np.flatnonzero(steps["test_error"].notna() | steps["test_loss"].notna())
    if len(tested) > MOST_ROWS:
        tested = tested[np.linspace(0, len(tested) - 1, MOST_ROWS).astype(int)]
    evenly = np.linspace(0, len(steps) - 1, min(len(steps), max(2, MOST_ROWS - len(tested)))).astype(int)
    frame = steps.iloc[np.unique([*tested, *evenly])].reset_index(drop=True)
    iteration = Head("iteration", "iteration", "training step", text=False)
    return Table([iteration, *(head for head in heads_of("steps", frame) if head.column in _SHOWN)], frame)
