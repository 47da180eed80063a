"""Where numbers stop being finite: one place, the first on the way of the pass in which it happens."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gradflow.findings.measured import Row, rows_of
from gradflow.findings.passes import PASS, of_pass, passes_of
from gradflow.record import Record


def locate_nonfinite(record: Record) -> str:
    """Say in words where on the way through the network numbers first stop being finite.

    That is a parameter; or else the first place of the forward pass; or else, where all values and the loss
    are finite, the first of the backward pass, which begins at the loss.

    Args:
        record: of one pass in which something is known not to be.
    """
    norms = record.parameters["norm"].to_numpy(float)
    weights = record.parameters[~np.isfinite(norms)]
    if len(weights):
        more = f" (and {len(weights) - 1} more)" if len(weights) > 1 else ""
        return f"the parameter {weights['name'].iloc[0]}{more} is not finite"
    units = rows_of(record.units.sort_values("unit", kind="stable"))
    if place := _forward(units):
        return f"going forward, it began {place}"
    if len(record.steps) and not np.isfinite(record.steps["loss"].to_numpy(float)).all():
        return f"going forward, it began {_behind(units)}"
    if place := _backward(units):
        return f"going backward, it began {place}"
    gradients = record.parameters[(record.parameters["nonfinite"] > 0).fillna(value=False)]
    if len(gradients):
        return f"the gradient of the parameter {gradients['name'].iloc[0]} is the first that is not finite"
    return f"the units are finite: it began {_behind(units)}"


def describe_nonfinite(record: Record) -> list[str]:
    """Return the sentence about elements that are not finite, if there are any."""
    units, parameters, steps = record.units, record.parameters, record.steps
    in_units = units[(units["nonfinite"] > 0).fillna(value=False)]
    in_parameters = parameters[(parameters["nonfinite"] > 0).fillna(value=False)]
    # A training run has a loss for every step, and units for those that were probed.
    probed = steps.merge(units[PASS].drop_duplicates(), on=PASS)
    losses = probed[~np.isfinite(probed["loss"].to_numpy(float))]
    affected = pd.concat(
        [part[PASS] for part in (in_units, in_parameters, losses) if len(part)] or [units[PASS][:0]]
    )
    if affected.empty:
        return []
    one = passes_of(affected.sort_values(PASS, kind="stable"))[0]
    began = locate_nonfinite(
        Record(
            units=of_pass(units, one),
            parameters=of_pass(parameters, one),
            steps=of_pass(steps, one),
            meta=record.meta,
        )
    )
    if in_units.empty and in_parameters.empty:
        return [f"The loss is not finite: {began}."]
    elements = int(in_units["nonfinite"].sum())
    count, total = len(in_units["unit"].unique()), len(units["unit"].unique())
    where = f"{elements:,} elements were NaN or infinite, in {count} of {total} units"
    if in_units.empty:
        elements = int(in_parameters["nonfinite"].sum())
        where = f"{elements:,} elements of parameters or their gradients were NaN or infinite, none in a unit"
    return [f"{where}: {began}. What depends on them is null."]


def _forward(units: list[Row]) -> str:
    """Return the first place in which a value of a unit is not finite; nothing if there is none."""
    before: Row | None = None
    for row in units:
        # A value that was not read is null as well, but then one that is made of it is finite.
        if _bad(row, "x_norm") and _bad(row, "branch_norm" if _is_block(row) else "shortcut_norm"):
            return _in_between(before, row)
        if inside := _inside(row, "branch_norm", "shortcut_norm"):
            return inside
        if _bad(row, "sum_norm"):
            return f"in {_named(row)}, in the sum of shortcut and branch"
        before = row
    if before is not None and _bad(before, "out_norm"):
        return f"behind the addition of the last unit, {_named(before)}{_f(before)}"
    return ""


def _backward(units: list[Row]) -> str:
    """Return the first place, from the loss on, in which a gradient is not finite; nothing if none is."""
    for place in range(len(units) - 1, -1, -1):
        row, above = units[place], units[place + 1 :][:1]
        if _bad(row, "grad_sum_norm"):
            if not above:
                return (
                    _behind(units) if _bad(row, "grad_out_norm") else f"behind the addition of {_named(row)}"
                )
            return _in_between(row, above[0])
        if inside := _inside(row, "grad_branch_norm", "grad_shortcut_norm"):
            return inside
        if _bad(row, "grad_in_norm"):
            return f"at x of {_named(row)}: in what else uses it, in the sum of its gradients, or in a hook"
    return ""


def _inside(row: Row, branch: str, shortcut: str) -> str:
    """Return on which of a unit's two ways a norm is not finite; nothing if on neither.

    Args:
        row: of the unit.
        branch: the column of the branch's norm.
        shortcut: of the shortcut's, which a named block has not.
    """
    if _bad(row, branch):
        return f"in {_named(row)}" if _is_block(row) else f"in {_named(row)}, in its branch"
    if not _is_block(row) and _bad(row, shortcut):
        return f"in {_named(row)}, on its shortcut"
    return ""


def _is_block(row: Row) -> bool:
    return bool(row["shortcut"] == "none")


def _bad(row: Row, column: str) -> bool:
    return not np.isfinite(float(row[column])) and bool(row["nonfinite"] > 0)


def _in_between(before: Row | None, after: Row) -> str:
    if before is None:
        return f"before {_named(after)}, the first: in the input or in what comes before the units"
    return f"between the addition of {_named(before)} and {_named(after)}{_f(before)}"


def _f(row: Row) -> str:
    f = row["post_activation"]
    return f" ({f})" if isinstance(f, str) and f not in {"identity", "other"} else ""


def _behind(units: list[Row]) -> str:
    return f"behind the last unit, {_named(units[-1])}: in the head or the loss"


def _named(row: Row) -> str:
    return f"unit {row['unit']} ({row['name']})"
