"""Sentences about one measurement, each with its evidence: how gradient and signal flow.

Gradients are judged by ratios along depth, never by their size, which depends on the loss, the batch and
the number of elements.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradflow.record import Record
from gradflow.repetitions import find_repetitions
from gradflow.statistics import aggregate, last_iteration, summarise_stages, with_shares
from gradflow.wording import format_factor as factor
from gradflow.wording import format_number as number
from gradflow.wording import format_percent as percent
from gradflow.wording import format_times as times
from gradflow.wording import name_unit

Row = dict[Hashable, Any]
"""A row of a frame, by column."""

_AVERAGED = (
    *("x_norm", "shortcut_norm", "branch_norm", "sum_norm", "out_norm"),
    *("grad_sum_norm", "grad_out_norm", "grad_shortcut_norm", "grad_branch_norm", "grad_in_norm"),
    *("forward_cosine", "backward_cosine", "param_grad_norm", "cancellation_p50", "survival_p50"),
    *("backward_gain", "backward_shortcut_share", "forward_branch_share"),
)


@dataclass(frozen=True)
class Measured:
    """A record, and what is computed from it once.

    Attributes:
        record: what was measured.
        units: one row a unit of its last iteration, with shares, averaged over seeds and batches.
        stages: one row a stage, and one (stage null) for the network, `statistics.summarise_stages`.
    """

    record: Record
    units: pd.DataFrame
    stages: pd.DataFrame

    @classmethod
    def of(cls, record: Record) -> Measured:
        """Average `record`; of several training iterations the last is taken."""
        last = last_iteration(record.units)
        return cls(record, aggregate(with_shares(last), _AVERAGED), summarise_stages(last))

    @property
    def whole(self) -> Row:
        """The network's row of `stages`."""
        return _rows(self.stages[self.stages["stage"].isna()])[0]


def describe_flow(measured: Measured) -> list[str]:
    """Return the sentences that every network has, as far as its numbers are finite."""
    return [
        *_gradient_in_stages(measured),
        *_gradient_over_all(measured),
        *_steepest(measured),
        *_shares(measured),
        *_samples(measured),
    ]


def _gradient_in_stages(measured: Measured) -> list[str]:
    stages = measured.stages[measured.stages["stage"].notna() & np.isfinite(measured.stages["growth"])]
    if stages.empty:
        return []
    each = "; ".join(
        f"stage {row['stage']} (units {row['first_unit']} to {row['last_unit']}) to {times(row['ratio'])}, "
        f"that is {times(row['growth'])} a unit{_interval(row, measured)}"
        for row in _rows(stages)
    )
    # A fit and the ends that it is fitted between may differ in direction; then there is none.
    verdicts = {
        _direction(row) if _direction(row) == _direction(row, "ratio") else "changes" for row in _rows(stages)
    }
    verdict = verdicts.pop() if len(verdicts) == 1 else "changes"
    where = "Within each stage, from its last unit's output back to its first's, the gradient norm"
    return [f"{where} {verdict}: {each}."]


def _gradient_over_all(measured: Measured) -> list[str]:
    whole = measured.whole
    if not np.isfinite(whole["ratio"]):
        return []
    count = whole["last_unit"] - whole["first_unit"] + 1
    change = f"{_direction(whole, 'ratio')} to {times(whole['ratio'])}{_interval(whole, measured, 'ratio')}"
    where = "from the last unit's output back to the first's input, transitions between stages included"
    return [f"Over all {count} units, {where}, it {change}."]


def _steepest(measured: Measured) -> Iterator[str]:
    """Yield where the gradient changes most in one unit, if that says more than the rates above."""
    known = measured.units[
        np.isfinite(measured.units["backward_gain"]) & (measured.units["backward_gain"] > 0)
    ]
    if len(known) < 2:
        return
    change = np.abs(np.log(known["backward_gain"].to_numpy(float)))
    row = _rows(known.iloc[[int(change.argmax())]])[0]
    verb = "grows" if row["backward_gain"] > 1 else "shrinks"
    yield f"It {verb} most in {name_unit(row)}: {times(row['backward_gain'])}."


def _shares(measured: Measured) -> list[str]:
    units, whole, sentences = measured.units, measured.whole, []
    if np.isfinite(whole["backward_shortcut_share"]):
        least = _extreme(units, "backward_shortcut_share", least=True)
        sentences.append(
            f"The shortcut carries {percent(whole['backward_shortcut_share'])} of the gradient's energy, "
            f"‖s‖² / (‖s‖² + ‖b‖²), in the median unit, and least in {name_unit(least)}: "
            f"{percent(least['backward_shortcut_share'])}."
        )
    if np.isfinite(whole["forward_branch_share"]):
        known = units[np.isfinite(units["forward_branch_share"])]
        most, least = (_extreme(known, "forward_branch_share", least=least) for least in (False, True))
        sentences.append(
            f"Forward, the branch adds {percent(whole['forward_branch_share'])} of the signal's energy in "
            f"the median unit: most in {name_unit(most)}, {percent(most['forward_branch_share'])}, and least "
            f"in {name_unit(least)}, {percent(least['forward_branch_share'])}."
        )
    return sentences


def _samples(measured: Measured) -> list[str]:
    # Extremes of all seeds and batches, not the averages that are drawn.
    units = last_iteration(measured.record.units)
    known = units[np.isfinite(units["cancellation_min"])]
    if known.empty:
        return []
    worst = _extreme(known, "cancellation_min", least=True)
    below = len(known.loc[known["cancellation_min"] <= -1, "unit"].unique())
    medians = known["cancellation_p50"]
    slices = (
        "slice of the batch's gradient by sample" if measured.record.meta["samples_coupled"] else "sample"
    )
    reached = (
        f"at least one {slices} reaches −1 in {below} of {len(known['unit'].unique())} units"
        if below
        else f"no {slices} reaches −1 in any unit"
    )
    sentence = (
        f"The paper's argument is that ρ = ⟨b, s⟩ / ‖s‖² is not −1 for every sample: {reached}; the least is "
        f"{number(worst['cancellation_min'])} in {name_unit(worst)}, and a unit's median lies between "
        f"{number(medians.min())} and {number(medians.max())}"
    )
    if np.isfinite(known["survival_min"]).any():
        least = _extreme(known, "survival_min", least=True)
        sentence += (
            f". The least survival ‖s + b‖ / ‖s‖ is {number(least['survival_min'])}, in {name_unit(least)}; "
            "0 would be full cancellation"
        )
    return [f"{sentence}."]


def _rows(frame: pd.DataFrame) -> list[Row]:
    # Not rows as Series: those have one type, and in pandas' nullable ones NaN and null get mixed up.
    rows: list[Row] = frame.to_dict("records")
    return rows


def _extreme(frame: pd.DataFrame, column: str, *, least: bool) -> Row:
    return _rows(frame.sort_values(column, ascending=least, kind="stable").head(1))[0]


def _direction(row: Row, column: str = "growth") -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if np.isfinite(low) and low <= 1 <= high:
        return "changes in no direction that the repetitions agree on"
    return "grows" if row[column] > 1 else "shrinks"


def _interval(row: Row, measured: Measured, column: str = "growth") -> str:
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    over = find_repetitions(measured.record)
    return f" (95\u00a0% interval over {over}: {factor(low)} to {factor(high)})"
