"""Which units of two records belong together, and their numbers by repetition and unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradflow.errors import ComparisonError
from gradflow.statistics import find_replicate, trends_of_passes


def common_units(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, str, list[str]]:
    """Return the units that both have, the column that pairs them, and what is to be said of that.

    Raises:
        ComparisonError: if they have none in common.
    """
    columns = ["unit", "name", "stage"]
    one, other = (table[columns].drop_duplicates("unit").sort_values("unit") for table in (first, second))
    if len(one) == len(other):
        return one, "unit", []
    common = one[one["name"].isin(set(other["name"]))]
    if common.empty:
        raise ComparisonError(
            f"the runs have {len(one)} and {len(other)} units and none of a common name: nothing pairs them"
        )
    remark = (
        f"the runs have {len(one)} and {len(other)} units; the {len(common)} of a common name are compared"
    )
    return common, "name", [remark]


def matrix(
    units: pd.DataFrame, key: str, keys: Sequence[Any], quantity: str, geometric: bool
) -> pd.DataFrame:
    """Return `quantity`, or its logarithm, as (repetitions, units), batches of one seed averaged."""
    values = units[quantity].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = units.assign(value=np.log(values.where(values >= 0)) if geometric else values)
    index = _repetition(units)
    table = scaled.assign(**{index: scaled[index].fillna(-1)}).pivot_table(
        index=index, columns=key, values="value", aggfunc=lambda part: part.mean(skipna=False), dropna=False
    )
    found: pd.DataFrame = table.reindex(columns=list(keys))
    return found


def changes_along_depth(units: pd.DataFrame, quantity: Literal["gradient", "signal"]) -> pd.Series[float]:
    """Return the logarithm of each repetition's change from the last unit's output to the first's input.

    It is the `ratio` of `gradflow.statistics.depth_trends` for the whole network, batches of one seed
    averaged, in the order of `matrix`.
    """
    index = _repetition(units)
    passes = trends_of_passes(units, quantity)
    whole = passes[passes["stage"].isna()]
    changes = pd.Series(np.log(whole["ratio"].to_numpy(np.float64)), index=whole[index].fillna(-1))
    found: pd.Series[float] = changes.groupby(level=0, sort=True).mean()
    return found


def _repetition(units: pd.DataFrame) -> str:
    """Return the column that tells repetitions apart; without any, one that has a single value."""
    return find_replicate(units) or "seed"
