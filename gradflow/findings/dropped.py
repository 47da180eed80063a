"""Units whose branch was dropped for every sample, as stochastic depth does: of it a batch says nothing."""

from __future__ import annotations

import pandas as pd

from gradflow.findings.measured import Measured
from gradflow.statistics import last_iteration, left_out
from gradflow.wording import name_units


def describe_dropped(measured: Measured) -> list[str]:
    """Return the sentence about units that ran without their branch, if there are any."""
    units = last_iteration(measured.record.units)
    never = left_out(units).groupby(units["unit"]).all()
    rows = units[units["unit"].isin(never.index[never])].drop_duplicates("unit")
    seen, unread = (rows[rows["dropped_samples"].notna() == known] for known in (True, False))
    sentences = []
    if len(seen):
        sentences.append(
            f"The branch was dropped for every sample in {_named(seen)}: behind its last weight it is "
            "multiplied by 0, by a mask such as stochastic depth's or by a number. What is said of branches "
            "leaves these units out; a larger batch, or another seed, may show them."
        )
    if len(unread):
        sentences.append(
            f"F is 0 in every sample in {_named(unread)}, behind a factor that has no gradient and could not "
            "be read. Either it is a mask that dropped these samples, as stochastic depth does, or the "
            "branch is dead: one batch does not tell, and what is said of branches leaves these units out."
        )
    return sentences


def _named(rows: pd.DataFrame) -> str:
    return name_units(rows.to_dict("records"))
