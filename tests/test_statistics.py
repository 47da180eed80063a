"""Averages, intervals, trends along depth, shares: against hand-computed cases and scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from _records import make_record
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradflow.record import Record, conform
from gradflow.statistics import (
    aggregate,
    depth_trends,
    find_replicate,
    left_out,
    summarise_checks,
    summarise_stages,
    with_shares,
    worst_checks,
)


def units(**columns: object) -> pd.DataFrame:
    """Return a units table of these columns, one pass unless they say otherwise."""
    keys = {"iteration": 0, "seed": 0, "batch_index": 0, "stage": 0}
    return conform("units", pd.DataFrame(keys | columns))


def test_norms_average_geometrically_and_cosines_arithmetically() -> None:
    """Over seeds 1 and 100, a norm's mean is 10; a cosine's of 0.1 and 0.3 is 0.2."""
    frame = units(seed=[0, 1], unit=[0, 0], grad_in_norm=[1.0, 100.0], backward_cosine=[0.1, 0.3])
    row = aggregate(frame, ["grad_in_norm", "backward_cosine"]).iloc[0]
    assert row["grad_in_norm"] == pytest.approx(10)
    assert row["backward_cosine"] == pytest.approx(0.2)
    assert row["replicates"] == 2


def test_interval_is_students_over_seeds() -> None:
    """The interval is scipy's t interval of the seeds' values, on the logarithm for a norm."""
    values = np.array([1.0, 2.0, 4.0, 3.0])
    frame = units(seed=range(4), unit=0, grad_in_norm=values, backward_cosine=values / 10)
    row = aggregate(frame, ["grad_in_norm", "backward_cosine"]).iloc[0]
    low, high = stats.t.interval(0.95, 3, values.mean() / 10, stats.sem(values / 10))
    assert (row["backward_cosine_low"], row["backward_cosine_high"]) == pytest.approx((low, high))
    logs = np.log(values)
    ends = np.exp(stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs)))
    assert (row["grad_in_norm_low"], row["grad_in_norm_high"]) == pytest.approx(tuple(ends))


def test_batches_are_not_seeds() -> None:
    """Batches of a seed are averaged first: they do not make the interval over seeds narrower."""
    two = units(seed=[0, 1], unit=0, backward_cosine=[0.1, 0.3])
    four = units(seed=[0, 0, 1, 1], batch_index=[0, 1, 0, 1], unit=0, backward_cosine=[0.0, 0.2, 0.2, 0.4])
    for end in ("low", "high"):
        name = f"backward_cosine_{end}"
        expected = aggregate(two, ["backward_cosine"])[name]
        assert aggregate(four, ["backward_cosine"])[name].tolist() == pytest.approx(expected.tolist())


def test_one_pass_has_no_interval_and_batches_stand_in_for_seeds() -> None:
    """Without repetitions there is no interval; with one seed it is over its batches."""
    one = units(unit=[0], grad_in_norm=[2.0])
    assert find_replicate(one) is None
    row = aggregate(one, ["grad_in_norm"]).iloc[0]
    assert row["grad_in_norm"] == pytest.approx(2)
    assert np.isnan(row["grad_in_norm_low"])
    batches = units(batch_index=[0, 1], unit=0, grad_in_norm=[2.0, 3.0])
    assert find_replicate(batches) == "batch_index"
    assert aggregate(batches, ["grad_in_norm"]).iloc[0]["grad_in_norm_low"] < 2


def test_what_is_not_finite_is_left_out() -> None:
    """A seed that overflowed is left out of the mean; if all did, it is null; a zero norm stays zero."""
    frame = units(
        seed=[0, 1, 0, 1, 0, 1],
        unit=[0, 0, 1, 1, 2, 2],
        grad_in_norm=[2.0, np.inf, np.inf, np.nan, 0.0, 3.0],
    )
    mean = aggregate(frame, ["grad_in_norm"])["grad_in_norm"].tolist()
    assert mean == pytest.approx([2.0, np.nan, 0.0], nan_ok=True)


def test_null_keys_are_kept() -> None:
    """A model given from Python has no seed; its rows are averaged all the same, in their order."""
    frame = units(seed=None, unit=[1, 0], name=["b", "a"], grad_in_norm=[1.0, 2.0])
    result = aggregate(frame, ["grad_in_norm"])
    assert result["name"].tolist() == ["b", "a"]
    assert depth_trends(frame)["points"].tolist() == [0, 2]


@pytest.mark.parametrize("growth", [0.5, 1.0, 1.02, 3.0])
def test_growth_of_a_geometric_sequence_is_its_factor(growth: float) -> None:
    """Where the gradient grows by one factor in every unit, the fit finds it exactly."""
    count = 12
    norms = 1e-3 * growth ** np.arange(count, -1, -1.0)
    frame = units(unit=range(count), stage=0, grad_in_norm=norms[:-1], grad_out_norm=norms[1:])
    stage, whole = (row for _, row in depth_trends(frame).iterrows())
    assert (stage["growth"], whole["growth"]) == pytest.approx((growth, growth))
    assert stage["ratio"] == pytest.approx(growth ** (count - 1))
    assert whole["ratio"] == pytest.approx(growth**count)
    assert stage["points"] == count
    assert whole["points"] == count + 1
    assert stage["r_squared"] == pytest.approx(1)


def test_transitions_do_not_count_as_growth_within_a_stage() -> None:
    """A jump in a stage's first unit is not in the stage's growth, but in the whole network's."""
    incoming, outgoing = [8.0, 4.0, 1.0, 1.0], [4.0, 1.0, 1.0, 1.0]
    frame = units(unit=range(4), stage=[0, 0, 1, 1], grad_in_norm=incoming, grad_out_norm=outgoing)
    trends = depth_trends(frame)
    assert trends["ratio"].tolist() == pytest.approx([4, 1, 8])
    assert trends["stage"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("decades", [-80.0, 83.0, 400.0])
def test_trends_span_any_number_of_decades(decades: float) -> None:
    """Eighty decades are fitted as well as one; nothing overflows in between."""
    count = 100
    exponents = np.linspace(decades / 2, -decades / 2, count + 1).clip(-300, 300)
    frame = units(unit=range(count), grad_in_norm=10 ** exponents[:-1], grad_out_norm=10 ** exponents[1:])
    assert np.isfinite(depth_trends(frame)["growth"]).all()


def test_trend_of_too_little_is_null() -> None:
    """One point, or none that is finite, has no growth."""
    one = depth_trends(units(unit=[0], grad_in_norm=[np.nan], grad_out_norm=[1.0]))
    assert one["growth"].isna().all()
    assert one["ratio"].isna().all()


def test_interval_of_growth_is_over_seeds_only() -> None:
    """Seeds that agree give a narrow interval however their units scatter; one seed gives none."""
    frame = make_record(stages=(10,), seed=0).units
    same = pd.concat([frame.assign(seed=seed) for seed in range(3)])
    row = depth_trends(same).iloc[0]
    assert row["growth_high"] - row["growth_low"] == pytest.approx(0, abs=1e-12)
    assert depth_trends(frame)["growth_low"].isna().all()


def test_forward_growth_uses_the_signal() -> None:
    """The same fit, of ‖x‖."""
    frame = units(unit=range(3), x_norm=[1.0, 2.0, 4.0], out_norm=[2.0, 4.0, 8.0])
    assert depth_trends(frame, "signal")["growth"].tolist() == pytest.approx([0.5, 0.5])


@given(
    shortcut=st.floats(1e-150, 1e150),
    branch=st.floats(1e-150, 1e150),
)
def test_shares_of_energy(shortcut: float, branch: float) -> None:
    """Both shares lie in [0, 1], and the parts of equal size have one half each."""
    frame = units(unit=[0, 1], grad_shortcut_norm=[shortcut, branch], grad_branch_norm=[branch, branch])
    share = with_shares(frame)["backward_shortcut_share"]
    assert 0 <= share[0] <= 1
    assert share[1] == 0.5


def test_shares_by_hand() -> None:
    """‖s‖ = 3 and ‖b‖ = 4 give the shortcut 9/25; a branch of 0 gives it all; no shortcut, null."""
    frame = units(
        unit=range(3),
        grad_shortcut_norm=[3.0, 1.0, None],
        grad_branch_norm=[4.0, 0.0, 1.0],
        grad_in_norm=[6.0, 1.0, 1.0],
        grad_out_norm=[3.0, 0.0, 1.0],
    )
    shares = with_shares(frame)
    assert shares["backward_shortcut_share"].tolist() == pytest.approx([9 / 25, 1.0, np.nan], nan_ok=True)
    assert shares["backward_gain"].tolist() == pytest.approx([2.0, np.nan, 1.0], nan_ok=True)


def test_summary_has_the_extremes_of_all_seeds() -> None:
    """A stage's least cancellation is the least of any unit and seed; the whole has the last row."""
    record = Record.concat([make_record(stages=(4, 4), seed=seed) for seed in range(3)])
    summary = summarise_stages(record.units)
    assert summary["stage"].isna().tolist() == [False, False, True]
    for _, row in summary.iterrows():
        part = record.units if pd.isna(row["stage"]) else record.units[record.units["stage"] == row["stage"]]
        assert row["cancellation_min"] == part["cancellation_min"].min()
        assert row["survival_min"] == part["survival_min"].min()


def test_plain_network_has_trends_but_no_shares() -> None:
    """Where there is no shortcut, its columns are null and the rest is there."""
    summary = summarise_stages(make_record(stages=(4, 4), shortcuts=False, decades=-30).units)
    assert summary["backward_shortcut_share"].isna().all()
    assert summary["growth"].lt(1e-3).all()


def test_worst_check_is_the_largest_error() -> None:
    """Of several seeds the largest error stands, and it holds only if it held every time."""
    rows = [
        {"iteration": 0, "seed": seed, "batch_index": 0, "equation": "5", "form": "vjp", "dtype": "float64"}
        | {"span_start": 0, "span_end": 2, "error": error, "holds": holds, "expected_to_hold": True}
        for seed, error, holds in ((0, 1e-9, True), (1, 1e-3, False), (2, 1e-12, True))
    ]
    worst = worst_checks(conform("checks", pd.DataFrame(rows)))
    assert len(worst) == 1
    assert worst.iloc[0]["error"] == 1e-3
    assert not worst.iloc[0]["holds"]
    assert worst.iloc[0]["passes"] == 3


def test_worst_checks_keeps_order_and_takes_none() -> None:
    """Checks stay in their order, and no checks give an empty table."""
    checks = make_record(stages=(3, 3)).checks
    assert worst_checks(checks)["equation"].tolist() == checks["equation"].tolist()
    assert worst_checks(checks.head(0)).empty


def test_checks_of_one_statement_are_one_row() -> None:
    """Of a statement's checks the worst is told: the largest error beside its tolerance, or none at all."""
    row = {"equation": "5", "form": "vjp", "dtype": "float64", "span_start": 0, "expected_to_hold": True}
    rows = [
        row | {"span_end": 1, "error": 1e-15, "tolerance": 1e-14, "holds": True, "detectable": 1e-13},
        row | {"span_end": 2, "error": 9e-15, "tolerance": 1e-12, "holds": True, "detectable": 1e-12},
        row | {"span_end": 3, "error": 0.5, "tolerance": 1e-14, "holds": False, "expected_to_hold": False},
    ]
    found, finding = (
        summarise_checks(conform("checks", pd.DataFrame(rows))).sort_values("checks").iloc[::-1].itertuples()
    )
    assert (found.checks, found.held, found.verdict) == (2, 2, "holds")
    assert (found.span_end, found.error, found.detectable) == (1, 1e-15, 1e-12)
    assert (finding.checks, finding.held, finding.verdict) == (1, 0, "finding")
    rows.append(
        row | {"span_end": 4, "error": None, "tolerance": 1e-14, "holds": False, "finding": "not finite"}
    )
    failing = summarise_checks(conform("checks", pd.DataFrame(rows))).query("expected_to_hold").iloc[0]
    assert (failing["held"], failing["checks"], failing["verdict"]) == (2, 3, "fails")
    assert (failing["span_end"], failing["finding"]) == (4, "not finite")


def test_dropped_branches_have_no_share() -> None:
    """Dropped for the whole batch, a branch has none; for a part of it, or dead, it has one."""
    frame = units(
        unit=range(6),
        batch=2,
        branch_norm=[0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        shortcut_norm=1.0,
        dropped_samples=[2, 1, 0, None, None, None],
        zero_branch_samples=[2, 1, 2, 2, 2, 0],
        branch_end=[
            "mul_by_constant",
            "mul_by_constant",
            "relu",
            "mul_by_constant",
            "relu",
            "mul_by_constant",
        ],
    )
    assert left_out(frame).tolist() == [True, False, False, True, False, False]
    expected = [np.nan, 0.5, 0.0, np.nan, 0.0, 0.5]
    assert with_shares(frame)["forward_branch_share"].tolist() == pytest.approx(expected, nan_ok=True)
    assert summarise_stages(frame)["forward_branch_share"].tolist() == pytest.approx([0.25, 0.25])
    assert not left_out(units(unit=[0, 1], branch_norm=0.0)).any()
