"""Summaries of a record's tables: frame in, frame out.

Nothing here has an absolute threshold. How large a gradient is depends on the loss, the batch and the
number of elements; what says something about a network is how gradients change *along its depth*.

Intervals are over independent repetitions only (seeds; batches where there is one seed). Units are not
independent of each other, so the scatter along depth is never turned into an interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from gradflow.stage_ends import ending_at_additions

CONFIDENCE = 0.95
"""Coverage of every interval."""

_KEYS = ("iteration", "seed", "batch_index")
Frame = pd.DataFrame


def find_replicate(frame: Frame) -> str | None:
    """Return the column whose values are independent repetitions: `seed`, `batch_index`, or neither."""
    for column in ("seed", "batch_index"):
        if column in frame and len(frame[column].dropna().unique()) > 1:
            return column
    return None


def last_iteration(frame: Frame) -> Frame:
    """Return the rows of the last training iteration that `frame` has."""
    iterations = frame["iteration"].fillna(0)
    last: Frame = frame.loc[iterations == iterations.max()]
    return last


def is_geometric(column: str) -> bool:
    """Return whether `column` is averaged as logarithms: norms and gains, whose errors are relative."""
    return column.endswith(("norm", "_gain")) or column in {"ratio", "growth", "gradient"}


def left_out(units: Frame) -> pd.Series[bool]:
    """Return whether each row's branch was dropped for the whole batch, as stochastic depth does.

    A factor that has no gradient made it 0 in every sample; where that factor could not be read, a branch
    that is 0 behind one counts as dropped, which it may be.
    """
    batch, dropped = units["batch"], units["dropped_samples"]
    unread = dropped.isna() & units["branch_end"].str.contains("by_constant").fillna(value=False)
    seen = (dropped == batch) & (batch > 0)
    found: pd.Series[bool] = (
        seen.fillna(value=False) | (unread & (units["zero_branch_samples"] == batch).fillna(value=False))
    ).astype(bool)
    return found


def with_shares(units: Frame) -> Frame:
    """Return `units` with what follows from a row alone.

    Adds:
        `backward_gain`: ‖∂E/∂x_l‖ / ‖∂E/∂x_{l+1}‖, the gradient's growth in one unit, towards the input,
        with x_{l+1} as `gradflow.stage_ends.ending_at_additions` takes it.
        `backward_shortcut_share`: ‖s‖² / (‖s‖² + ‖b‖²), of the gradient's energy on its two ways.
        `forward_branch_share`: ‖F‖² / (‖h‖² + ‖F‖²), of the signal's energy on its two ways; for
        orthogonal ones this is the Var(F_l)/Var(x_{l+1}) of De & Smith 2020 (arXiv:2002.10444). Null where
        the branch was left out.
    """
    return units.assign(
        backward_gain=_ratio(units["grad_in_norm"], ending_at_additions(units)["grad_out_norm"]),
        backward_shortcut_share=_energy_share(units["grad_shortcut_norm"], units["grad_branch_norm"]),
        forward_branch_share=np.where(
            left_out(units), np.nan, _energy_share(units["branch_norm"], units["shortcut_norm"])
        ),
    )


def aggregate(frame: Frame, columns: Sequence[str], *, by: Sequence[str] = ("unit",)) -> Frame:
    """Average over batches within a seed, then over seeds, with Student's interval over the latter.

    Norms are averaged as logarithms (a geometric mean), everything else as it is. What is not finite is
    left out; where a norm is zero in one repetition, the geometric mean is zero and has no interval.

    Args:
        frame: rows with the keys `iteration`, `seed`, `batch_index`.
        columns: what to average.
        by: what identifies a row within one pass.

    Returns:
        One row for each `iteration` and `by`, in order of appearance: these, the first of every other
        column that is not averaged, `replicates`, and for each of `columns` its mean and `…_low`,
        `…_high` (null without repetitions).
    """
    groups = ["iteration", *by]
    replicate = find_replicate(frame)
    values = _to_scale(frame[list(columns)])
    keyed = pd.concat([frame[[*groups, "seed", "batch_index"]], values], axis=1)
    if replicate == "seed":
        keyed = _grouped(keyed, [*groups, "seed"])[list(columns)].mean().reset_index()
    grouped = _grouped(keyed, groups)[list(columns)]
    mean, count = grouped.mean(), grouped.count()
    others = [name for name in frame if name not in {*columns, *groups, "seed", "batch_index"}]
    result: Frame = _grouped(frame, groups)[others].first()
    result["replicates"] = grouped.size()
    low, high = _interval(mean, grouped.std(), count, replicated=replicate is not None)
    averages = {
        f"{name}{suffix}": np.exp(part[name]) if is_geometric(name) else part[name]
        for name in columns
        for suffix, part in (("", mean), ("_low", low), ("_high", high))
    }
    return pd.concat([result, pd.DataFrame(averages)], axis=1).reset_index()


def depth_trends(units: Frame, quantity: Literal["gradient", "signal"] = "gradient") -> Frame:
    """Fit log-linear growth along depth, in each stage and in the whole network.

    In every pass ln(norm) is fitted against depth by least squares; `growth` is the factor from one
    unit to the one before it, so above 1 where gradients grow towards the input. A stage is taken from
    the output of its first unit on, since only from there on the shape stays the same (theory: He et
    al. 2016, eq. 4 and 5, hold within a stage), to its last addition; the whole network from the first
    unit's input on. Intervals are over repetitions; one in which more norms are 0 or not finite than in
    others is not of the same depth, and left out.

    Args:
        units: a record's units.
        quantity: ‖∂E/∂x‖ or ‖x‖.

    Returns:
        One row for each `iteration` and `stage` (null: the whole network) with `first_unit` and
        `last_unit` of those whose norms are positive and finite, `points` (how many these are), `ratio` =
        first norm / last norm, `growth`, both with `…_low` and `…_high`, and `r_squared` of the fit. Where
        fewer than two norms are positive and finite, these are null.
    """
    trends = trends_of_passes(units, quantity)
    most = _grouped(trends, ["iteration", "stage"])["points"].transform("max")
    result = aggregate(trends[trends["points"] == most], ["ratio", "growth", "r_squared"], by=("stage",))
    return result.drop(columns=["r_squared_low", "r_squared_high"])


def trends_of_passes(units: Frame, quantity: Literal["gradient", "signal"] = "gradient") -> Frame:
    """Return a row a pass and stage, of which `depth_trends` averages `ratio`, `growth` and `r_squared`."""
    before, after = _ENDS[quantity]
    units = ending_at_additions(units)
    rows: list[dict[str, Any]] = []
    for keys, one_pass in _grouped(units, _KEYS):
        identity = dict(zip(_KEYS, keys, strict=True))
        for (stage,), part in _grouped(one_pass, ["stage"]):
            rows.append({**identity, "stage": stage, **_fit(part, part["unit"], part[after], after_last=0)})
        last = one_pass.loc[[one_pass["unit"].idxmax()]]
        depths = pd.concat([one_pass["unit"], last["unit"] + 1])
        norms = pd.concat([one_pass[before], last[after]])
        rows.append({**identity, "stage": pd.NA, **_fit(one_pass, depths, norms, after_last=1)})
    return pd.DataFrame(rows, columns=[*_KEYS, "stage", *_FIT]).astype({"stage": "Int64"})


def summarise_stages(units: Frame) -> Frame:
    """Return one row a stage, and one for the whole network, with what a reader wants to know first.

    Returns:
        The rows of `depth_trends` with medians over units of `backward_shortcut_share`,
        `forward_branch_share` and `cancellation_p50`; the least `cancellation_min` and `survival_min`
        of any unit; `nonfinite` elements in all; the largest `additivity_error`.
    """
    shares = with_shares(units)
    reductions = {
        "backward_shortcut_share": "median",
        "forward_branch_share": "median",
        "cancellation_p50": "median",
        "cancellation_min": "min",
        "survival_min": "min",
        "nonfinite": "sum",
        "additivity_error": "max",
    }
    shares = shares.assign(**{name: _finite(shares[name]) for name in reductions})
    by_stage = _grouped(shares, ["iteration", "stage"]).agg(reductions).reset_index()
    whole = _grouped(shares, ["iteration"]).agg(reductions).reset_index().assign(stage=pd.NA)
    both = pd.concat([by_stage, whole.astype({"stage": "Int64"})], ignore_index=True)
    return depth_trends(units).merge(both, on=["iteration", "stage"], how="left")


def summarise_lesions(lesions: Frame) -> Frame:
    """Return one row a lesion: loss, error and Kendall's τ, averaged over draws, then as `aggregate` does.

    Of several units removed or exchanged together it matters how many there are, not which, so
    their `units` is null.
    """
    by = ["lesion", "count", "units"]
    values = ["loss", "error", "kendall_tau"]
    alone = (lesions["lesion"] == "remove") & (lesions["count"] == 1)
    named = lesions.assign(units=lesions["units"].where(alone))
    if named.empty:
        return aggregate(named, values, by=by)
    draws = _grouped(named, [*_KEYS, *by])[values].mean().reset_index()
    return aggregate(draws, values, by=by)


def effective_lengths(paths: Frame) -> Frame:
    """Return one row a pass: `length`, the mean length of a path weighted by `share`.

    And `shortest`, `longest`: the lengths between which nine tenths of the gradient come, a
    twentieth being left out on either side. Veit et al. 2016 (arXiv:1605.06431) call a network's
    paths effective at these lengths.
    """
    rows = []
    for keys, one_pass in _grouped(paths, _KEYS):
        length, share = (one_pass[name].to_numpy(np.float64) for name in ("length", "share"))
        below = np.cumsum(share)
        row = {**dict(zip(_KEYS, keys, strict=True)), "length": length @ share}
        if np.isfinite(below[-1]):
            row |= {
                name: length[np.searchsorted(below, part)]
                for name, part in (("shortest", 0.05), ("longest", 0.95))
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=[*_KEYS, "length", "shortest", "longest"])


def worst_checks(checks: Frame) -> Frame:
    """Return one row an equation and span: the largest error over seeds and batches.

    `holds` is whether it held every time; `passes` is how many times it was checked.
    """
    by = ["iteration", "equation", "form", "dtype", "span_start", "span_end"]
    if checks.empty:
        return checks.assign(passes=pd.Series(dtype="Int64"))
    # A null error means not comparable: it says more than any number, and sorts last.
    worst = _grouped(checks.sort_values("error", kind="stable", na_position="last"), by)
    result: Frame = worst.tail(1).set_index(by)
    result["holds"] = _grouped(checks, by)["holds"].min()
    result["passes"] = _grouped(checks, by).size()
    order = checks.drop_duplicates(by)[by]
    result = result.loc[pd.MultiIndex.from_frame(order)].reset_index()
    return result[[*checks.columns, "passes"]]


def summarise_checks(checks: Frame) -> Frame:
    """Return one row a statement: how many of its checks hold, and the worst of them.

    Checks of one equation, form and dtype that are expected to hold are one statement, those that
    are not another. The worst one has the largest error beside its tolerance; none at all is worse.

    Returns:
        `equation`, `form`, `dtype`, `expected_to_hold`, `formula`, `checks` (how many), `held` (how
        many of them), `verdict` (holds, fails or finding), `span_start`, `span_end`, `error` and
        `tolerance` of the worst, `detectable` (the largest), and `finding` (the most frequent).
    """
    by = ["equation", "form", "dtype", "expected_to_hold"]
    rows: list[dict[Any, Any]] = []
    for keys, part in _grouped(checks.sort_values(by, kind="stable"), by):
        excess = (part["error"] / part["tolerance"]).fillna(np.inf).to_numpy(float)
        worst = part.iloc[int(excess.argmax())]
        findings = part["finding"].dropna()
        values = dict(zip(by, keys, strict=True))
        held = int(part["holds"].fillna(value=False).sum())
        expected = values["expected_to_hold"]
        failing = "finding" if pd.isna(expected) or not expected else "fails"
        rows.append(
            {
                **values,
                "formula": part["formula"].iloc[0],
                "checks": len(part),
                "held": held,
                "verdict": "holds" if held == len(part) else failing,
                **{name: worst[name] for name in ("span_start", "span_end", "error", "tolerance")},
                "detectable": part["detectable"].max(),
                "finding": findings.mode().iloc[0] if len(findings) else pd.NA,
            }
        )
    return pd.DataFrame(rows, columns=list(_STATEMENT))


_STATEMENT = (
    "equation", "form", "dtype", "expected_to_hold", "formula", "checks", "held", "verdict",
    "span_start", "span_end", "error", "tolerance", "detectable", "finding",
)  # fmt: skip
_FIT = ("first_unit", "last_unit", "points", "ratio", "growth", "r_squared")
_ENDS = {"gradient": ("grad_in_norm", "grad_out_norm"), "signal": ("x_norm", "out_norm")}


def _fit(part: Frame, depths: pd.Series[Any], norms: pd.Series[Any], *, after_last: int) -> dict[str, Any]:
    depth, norm = depths.to_numpy(np.float64), norms.to_numpy(np.float64)
    usable = np.isfinite(norm) & (norm > 0)
    order = np.argsort(depth[usable])
    depth, logs = depth[usable][order], np.log(norm[usable][order])
    fit = {"first_unit": part["unit"].min(), "last_unit": part["unit"].max(), "points": len(depth)}
    if len(depth) < 2:
        return {**fit, "ratio": np.nan, "growth": np.nan, "r_squared": np.nan}
    fit |= {"first_unit": int(depth[0]), "last_unit": int(depth[-1]) - after_last}
    centred, level = depth - depth.mean(), logs - logs.mean()
    slope = float(centred @ level / (centred @ centred))
    scatter, residual = float(level @ level), float(np.sum((level - slope * centred) ** 2))
    with np.errstate(over="ignore"):
        return {
            **fit,
            "ratio": float(np.exp(logs[0] - logs[-1])),
            "growth": float(np.exp(-slope)),
            # A constant is fitted perfectly by the line through it.
            "r_squared": 1 - residual / scatter if scatter > 0 else 1.0,
        }


def _interval(mean: Frame, spread: Frame, count: Frame, *, replicated: bool) -> tuple[Frame, Frame]:
    if not replicated:
        nothing = mean * np.nan
        return nothing, nothing
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = special.stdtrit(np.maximum(count - 1, 1), 0.5 + CONFIDENCE / 2)
        half = (spread * quantile / np.sqrt(count)).where(count > 1)
        return mean - half, mean + half


def _to_scale(values: Frame) -> Frame:
    with np.errstate(divide="ignore"):
        return pd.DataFrame(
            {
                name: np.log(column) if is_geometric(str(name)) else column
                for name, column in values.apply(_finite).items()
            }
        )


def _finite(column: pd.Series[Any]) -> pd.Series[Any]:
    numbers = column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan), index=column.index, name=column.name)


def _grouped(frame: Frame, by: Iterable[str]) -> Any:
    # A key may be null (a model given from Python has no seed); its rows are rows all the same.
    return frame.groupby(list(by), dropna=False, sort=False)


def _ratio(numerator: pd.Series[Any], denominator: pd.Series[Any]) -> pd.Series[Any]:
    return numerator / denominator.where(denominator > 0)


def _energy_share(part: pd.Series[Any], rest: pd.Series[Any]) -> NDArray[np.float64]:
    # Through the quotient, for squares of 1e±200 leave the range of floats.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(1 / (1 + (rest.to_numpy(np.float64) / part.to_numpy(np.float64)) ** 2))
