"""Means over seeds, by unit and by case, and what the equations' checks amount to."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradflow.statistics import aggregate

_KEYS = {"iteration": 0, "batch_index": 0}
SHARES = ("backward_shortcut_share", "forward_branch_share")


def summarise_units(units: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case and unit, averaged over seeds with 95 % intervals.

    Returns:
        `case`, `unit`, `stage`, `grad_in_norm`, `relative_gain` (‖∂E/∂x_l‖ over the last unit's) and the
        shares of `with_shares`, each with `_low` and `_high`.
    """
    frame = units.assign(**_KEYS, stage=units["stage"].astype(int))
    last = frame.groupby(["case", "seed"])["grad_in_norm"].transform("last")
    frame["relative_gain"] = frame["grad_in_norm"] / last
    columns = ["grad_in_norm", "relative_gain", *SHARES]
    kept = frame[["case", "unit", "stage", "seed", *_KEYS, *columns]]
    averaged = aggregate(kept, columns, by=("case", "unit"))
    return averaged.drop(columns="iteration").rename(columns={"replicates": "seeds"})


def summarise_cases(units: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case: the whole network in a few numbers, averaged over seeds.

    Returns:
        `case`, `ratio` (‖∂E/∂x‖ at the first unit over the last unit's; geometric mean), and of the median
        unit `backward_shortcut_share` and `forward_branch_share`, with `_low` and `_high`; `seeds`.
    """
    rows = []
    for (case, seed), part in units.groupby(["case", "seed"], sort=False):
        gradients = part["grad_in_norm"].to_numpy(float)
        rows.append(
            {
                "case": case,
                "seed": seed,
                **_KEYS,
                "ratio": gradients[0] / gradients[-1],
                **{share: part[share].median() for share in SHARES},
            }
        )
    averaged = aggregate(pd.DataFrame(rows), ["ratio", *SHARES], by=("case",))
    return averaged.drop(columns="iteration").rename(columns={"replicates": "seeds"})


def summarise_checks(checks: pd.DataFrame) -> pd.DataFrame:
    """Return one row a case and equation, over all spans and forms.

    Returns:
        `case`, `equation`, `exact` and `exact_due` (checks of statements expected to hold: how many do, of
        how many), `worst_exact` (the largest error of these), `off` (how many of the paper's own statements
        do not hold because h or f is not an identity) and `median_off`, their median relative error.
    """
    rows = []
    for (case, equation), part in checks.groupby(["case", "equation"], sort=False):
        due = part["expected_to_hold"].fillna(value=False).astype(bool)
        holds = part["holds"].fillna(value=False).astype(bool)
        off = part.loc[~due & ~holds, "error"]
        rows.append(
            {
                "case": case,
                "equation": equation,
                "exact": int((due & holds).sum()),
                "exact_due": int(due.sum()),
                "worst_exact": float(part.loc[due, "error"].max()) if due.any() else np.nan,
                "off": len(off),
                "median_off": float(off.median()) if len(off) else np.nan,
            }
        )
    return pd.DataFrame(rows)
