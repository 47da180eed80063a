"""Which figures show nothing of a run because everything they draw of it is null or not finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradflow.plots import Network
from gradflow.report.runs import Run


@dataclass(frozen=True)
class Panel:
    """What a figure, or one part of it, is drawn from.

    Attributes:
        shows: what a reader would see in it.
        columns: of the table; it is empty where none of them has a finite number.
        table: name of the network's table.
        needs_shortcut: whether a plain network has nothing to show in it anyway.
    """

    shows: str
    columns: tuple[str, ...]
    table: str = "units"
    needs_shortcut: bool = False


_PANELS = (
    Panel("the gradient norm", ("grad_in_norm",)),
    Panel("the gradient norm's ratio from unit to unit", ("backward_gain",)),
    Panel("the forward norms of shortcut, branch and sum", ("shortcut_norm", "branch_norm", "sum_norm")),
    Panel(
        "the gradient's parts through shortcut and branch",
        ("grad_shortcut_norm", "grad_branch_norm"),
        needs_shortcut=True,
    ),
    Panel("the forward cosine", ("forward_cosine",), needs_shortcut=True),
    Panel("the backward cosine", ("backward_cosine",), needs_shortcut=True),
    Panel("the cancellation", ("cancellation_p50",), needs_shortcut=True),
    Panel("the survival", ("survival_p50",), needs_shortcut=True),
    Panel("the parameters' gradient norms", ("grad_norm",), "parameters"),
    Panel("the root mean square singular values", ("root_mean_square",), "jacobians"),
    Panel("the singular values", ("singular_value",), "singular_values"),
    Panel("the gradient by length of path", ("gradient",), "paths"),
    Panel("the lesions", ("loss", "error"), "lesions"),
)


def find_empty(runs: Sequence[Run]) -> list[str]:
    """Return in words what is drawn of which runs from columns without a finite number, a sentence a run.

    A column that a network cannot have, a cosine without a shortcut, is not missing from it.
    """
    found = [
        (run, [*_without_loss(run.network), *(one.shows for one in _PANELS if _is_empty(run.network, one))])
        for run in runs
    ]
    return [
        f"{run.label} has no finite number in its last iteration for {_joined(panels)}: "
        "nothing of it can be drawn there"
        for run, panels in found
        if panels
    ]


def _is_empty(network: Network, panel: Panel) -> bool:
    if panel.needs_shortcut and bool((network.units["shortcut"] == "none").all()):
        return False
    table: pd.DataFrame = getattr(network, panel.table)
    return len(table) > 0 and not _any_finite(table, panel.columns)


def _without_loss(network: Network) -> list[str]:
    # Not the error: a loss without classes has none, so it did not go missing.
    if network.over_time is None or _any_finite(network.over_time.steps, ("loss",)):
        return []
    return ["the training loss"]


def _any_finite(table: pd.DataFrame, columns: Sequence[str]) -> bool:
    return bool(np.isfinite(table[list(columns)].to_numpy(float, na_value=np.nan)).any())


def _joined(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
