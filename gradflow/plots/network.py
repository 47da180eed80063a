"""What figures are drawn from: one network's averaged tables, under the name and colour that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from gradflow.plots.style import network_colour, network_dashes
from gradflow.record import Record
from gradflow.record.schema import QUANTILES
from gradflow.statistics import aggregate, last_iteration, summarise_lesions, with_shares, worst_checks
from gradflow.theory import predicted_branch_share

_PER_SAMPLE = ("cancellation", "survival", "span_cancellation", "span_survival")
_AVERAGED = (
    *("x_norm", "shortcut_norm", "branch_norm", "sum_norm", "out_norm", "forward_cosine"),
    *("grad_sum_norm", "grad_out_norm", "grad_shortcut_norm", "grad_branch_norm", "grad_other_norm"),
    *("grad_in_norm", "backward_cosine", "additivity_error", "param_norm", "param_grad_norm"),
    *("backward_gain", "backward_shortcut_share", "forward_branch_share"),
    *(f"{statistic}_{quantile}" for statistic in _PER_SAMPLE for quantile in QUANTILES),
)


_OVER_TIME = (
    *("grad_in_norm", "backward_gain", "backward_shortcut_share", "backward_cosine", "cancellation_p50"),
    *("survival_p50", "x_norm", "branch_norm", "forward_branch_share", "forward_cosine", "param_grad_norm"),
)
"""Columns of `Network.history`: a training run has hundreds of iterations, and few are looked at."""

_JACOBIAN = ("jacobian", "span_start", "span_end")


@dataclass(frozen=True)
class OverTime:
    """What a training run recorded.

    Attributes:
        steps: the record's `steps`, one row a training step, in order.
        units: the network's `history`.
    """

    steps: pd.DataFrame
    units: pd.DataFrame


@dataclass(frozen=True)
class Network:
    """One network to draw.

    Attributes:
        label: its name in legends and titles.
        colour: its colour in every figure.
        dashes: matplotlib line style, for networks beyond the number of colours.
        units: one row a unit, averaged over seeds and batches (`gradflow.statistics.aggregate`), with
            `predicted_branch_share` where theory has one.
        parameters: one row a parameter tensor, likewise.
        checks: one row an equation and span, the largest error.
        jacobians: one row a Jacobian, averaged likewise, with its `root_mean_square` singular value.
        singular_values: one row a singular value, likewise.
        paths: one row a length of path, likewise.
        lesions: one row a lesion, likewise (`gradflow.statistics.summarise_lesions`).
        history: one row a unit of every iteration, averaged likewise, in the columns that are looked at
            over time.
        over_time: what was recorded while it trained; None if it is not the record of a training run.
    """

    label: str
    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    units: pd.DataFrame
    parameters: pd.DataFrame
    checks: pd.DataFrame
    jacobians: pd.DataFrame
    singular_values: pd.DataFrame
    paths: pd.DataFrame
    lesions: pd.DataFrame
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    over_time: OverTime | None = None


def network_from(record: Record, label: str, index: int = 0) -> Network:
    """Average `record` for drawing; of several training iterations the last is taken.

    Args:
        record: what was measured.
        label: the network's name.
        index: its number among those drawn together, from 0; it decides the colour.
    """
    units = aggregate(with_shares(last_iteration(record.units)), _AVERAGED)
    history = _history(record)
    return Network(
        label=label,
        colour=network_colour(index),
        dashes=network_dashes(index),
        units=units.assign(predicted_branch_share=predicted_branch_share(record, units)),
        parameters=aggregate(last_iteration(record.parameters), ["norm", "grad_norm"], by=("name",)),
        checks=worst_checks(last_iteration(record.checks)),
        jacobians=aggregate(
            last_iteration(record.jacobians).assign(root_mean_square=record.jacobians["mean_square"] ** 0.5),
            ["root_mean_square", "mean_square"],
            by=_JACOBIAN,
        ),
        singular_values=aggregate(
            last_iteration(record.singular_values), ["singular_value"], by=(*_JACOBIAN, "order")
        ),
        paths=aggregate(last_iteration(record.paths), ["gradient", "share"], by=("length",)),
        lesions=summarise_lesions(last_iteration(record.lesions)),
        history=history,
        over_time=_over_time(record, history),
    )


def _history(record: Record) -> pd.DataFrame:
    """Return the units of every iteration, averaged over seeds and batches where there are several."""
    told = ["iteration", "seed", "batch_index", "unit", "name", "stage", "shortcut", "post_activation"]
    units = with_shares(record.units)[[*told, *_OVER_TIME]]
    units = units.assign(iteration=units["iteration"].fillna(0))
    return aggregate(units, _OVER_TIME) if units.duplicated(["iteration", "unit"]).any() else units


def _over_time(record: Record, history: pd.DataFrame) -> OverTime | None:
    """Return what a training run recorded: steps that have a learning rate tell it from a probe."""
    steps = record.steps[record.steps["learning_rate"].notna()]
    if steps.empty:
        return None
    return OverTime(steps.sort_values("iteration"), history)


def networks_from(records: Sequence[Record], labels: Sequence[str]) -> list[Network]:
    """Average `records` for drawing together, one colour each."""
    return [
        network_from(record, label, index)
        for index, (record, label) in enumerate(zip(records, labels, strict=True))
    ]
