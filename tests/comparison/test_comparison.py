"""Comparing records: hand-computed numbers, a band that covers, a test that is not fooled, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _records import make_record
from scipy.stats import wilcoxon

from gradflow.comparison import QUANTITIES, compare_records, describe, differences_in_measuring
from gradflow.comparison.resampling import band
from gradflow.errors import ComparisonError
from gradflow.record import Record


def several(count: int = 10, first: int = 0, **options: Any) -> Record:
    """Return a record of `count` seeds."""
    return Record.concat([make_record(stages=(4, 4), seed=first + seed, **options) for seed in range(count)])


def scaled(record: Record, factors: list[float] | float) -> Record:
    """Return `record` with each unit's gradient norm multiplied by its factor."""
    units = record.units.copy()
    table = pd.Series(factors, index=range(8)) if isinstance(factors, list) else None
    units["grad_in_norm"] *= factors if table is None else units["unit"].map(table).astype(float)
    return replace(record, units=units)


def test_a_known_ratio_is_found_in_every_unit() -> None:
    """Seed by seed each norm is multiplied by a known factor: the paired ratio is that, without a scatter."""
    factors = [1.0, 2.0, 0.5, 1.0, 3.0, 1.0, 1.0, 4.0]
    first = several()
    found = compare_records(first, scaled(first, factors))
    assert found.paired
    assert found.repetitions == (10, 10)
    assert found.units["change"].tolist() == pytest.approx(factors, rel=1e-12)
    assert found.units["low"].tolist() == pytest.approx(factors, rel=1e-9)
    # First over last unit was multiplied by 1 / 4.
    assert found.summary.change == pytest.approx(0.25, rel=1e-12)
    assert found.summary.a * found.summary.change == pytest.approx(found.summary.b, rel=1e-12)


def test_averages_are_geometric_means() -> None:
    """By hand, from the table."""
    first, second = several(3), several(3, first=20)
    found = compare_records(first, second)
    assert not found.paired
    for record, column in ((first, "a"), (second, "b")):
        expected = record.units.groupby("unit")["grad_in_norm"].apply(
            lambda norms: np.exp(np.log(norms).mean())
        )
        assert found.units[column].tolist() == pytest.approx(expected.tolist(), rel=1e-12)


def test_a_share_is_compared_by_its_difference() -> None:
    """Of what is no norm the mean over units is tested, and what is compared is a difference."""
    first = several()
    units = first.units.copy()
    units["backward_cosine"] += 0.125
    found = compare_records(first, replace(first, units=units), "backward_cosine")
    assert not found.geometric
    assert found.units["change"].tolist() == pytest.approx([0.125] * 8, abs=1e-12)
    assert found.summary.change == pytest.approx(0.125, abs=1e-12)


def test_the_permutation_test_agrees_with_an_independent_one() -> None:
    """Ten pairs that all change in one direction: the least p-value that ten signs allow, as Wilcoxon's."""
    first = several()
    spread = [float(1 + 0.1 * seed) for seed in range(10)]
    units = first.units.copy()
    last = units["unit"] == 7
    units.loc[last, "grad_in_norm"] *= (
        units.loc[last, "seed"].map(dict(enumerate(spread))).astype(float) + 0.1
    )
    found = compare_records(first, replace(first, units=units))
    expected = wilcoxon([np.log(value + 0.1) for value in spread]).pvalue
    assert found.summary.p_value == pytest.approx(expected, rel=1e-9)
    assert found.summary.p_value == pytest.approx(2 / 2**10, rel=1e-9)


def test_chance_alone_is_rarely_a_difference() -> None:
    """A negative control: of two records of one kind with other seeds hardly any differ, in no unit."""
    found = [compare_records(several(first=100 * pair), several(first=100 * pair + 50)) for pair in range(20)]
    assert sum(one.summary.p_value < 0.05 for one in found) <= 4  # 1 expected; more than 4 has p = 0.003
    assert sum(bool(one.units["differs"].any()) for one in found) <= 8  # ten repetitions are few


def test_the_band_holds_all_units_at_once() -> None:
    """Of many records with a known difference, the band of thirty repetitions holds nine in ten whole."""
    rng, units, truth = np.random.default_rng(1), 12, 0.3
    held = 0
    for _ in range(60):
        a, b = rng.normal(size=(30, units)), rng.normal(size=(30, units)) + truth
        low, high = band(a, b, paired=False)
        held += bool(((low <= truth) & (truth <= high)).all())
    assert held >= 48  # binomial, 0.9 of 60: below 48 has p = 0.01
    width = (high - low) / 2 / np.sqrt(a.var(axis=0, ddof=1) / 30 + b.var(axis=0, ddof=1) / 30)
    assert float(width.mean()) > 2.3  # an interval of one unit alone is 1.96 standard errors wide


def test_one_repetition_has_no_interval_and_says_so() -> None:
    """Differences are given, intervals and p-value are not, and few repetitions are said to be few."""
    alone = compare_records(make_record(stages=(4, 4)), make_record(stages=(4, 4), growth=1.1))
    assert alone.units[["low", "high"]].isna().all(axis=None)
    assert np.isnan(alone.summary.p_value)
    assert not alone.units["differs"].any()
    assert "one repetition" in " ".join(describe(alone, "A", "B"))
    assert "p =" not in " ".join(describe(alone, "A", "B"))
    few = compare_records(several(3), several(3, growth=1.1))
    assert "3 repetitions" in " ".join(describe(few, "A", "B"))


def test_sentences_say_which_way_it_goes_and_whether_chance_explains_it() -> None:
    """A real difference and none, with the numbers of the comparison."""
    first = several()
    real = describe(compare_records(first, scaled(first, [4.0, 1, 1, 1, 1, 1, 1, 1])), "calm", "wild")
    assert "4 times the first" in real[0]
    assert "which chance does not explain" in real[0]
    assert "most in unit 0 (stages.0.0): 4 times as large in wild as in calm" in real[1]
    none = describe(compare_records(several(), several(first=50)), "A", "B")
    assert "which may be chance" in none[0]


@pytest.mark.parametrize(
    ("changes", "aspect"),
    [
        ({"batch_size": 64}, "batch size: 32 and 64"),
        ({"bn": "running"}, "BN mode: batch and running"),
        (
            {"data": {"name": "cifar10", "split": "test", "normalisation": None, "classes": 10}},
            "data: synthetic",
        ),
        ({"loss": {"name": "mse", "value": 1.0}}, "loss: cross_entropy and mse"),
    ],
)
def test_what_was_measured_otherwise_is_refused(changes: dict[str, Any], aspect: str) -> None:
    """In one sentence that names what differs; nothing is compared."""
    first, second = make_record(), make_record(**changes)
    assert aspect in " ".join(differences_in_measuring(first.meta, second.meta))
    with pytest.raises(ComparisonError, match="cannot be compared"):
        compare_records(first, second)


def test_networks_without_a_common_unit_are_refused_and_others_paired_by_name() -> None:
    """Of another number of units those of a common name are compared, and it is said how many."""
    found = compare_records(make_record(stages=(3, 3)), make_record(stages=(3, 4)))
    assert found.units["name"].tolist() == [f"stages.{stage}.{unit}" for stage in (0, 1) for unit in range(3)]
    assert "6 and 7 units" in found.remarks[0]
    other = make_record(stages=(3, 4))
    renamed = replace(other, units=other.units.assign(name=[f"block{n}" for n in range(7)]))
    with pytest.raises(ComparisonError, match="none of a common name"):
        compare_records(make_record(stages=(3, 3)), renamed)


def test_units_that_are_not_finite_are_left_out_and_said() -> None:
    """One unit is null in one run; if all are, there is nothing to compare."""
    first = several(3)
    units = first.units.copy()
    units.loc[units["unit"] == 2, "grad_in_norm"] = np.nan
    found = compare_records(first, replace(first, units=units))
    assert 2 not in found.units["unit"].tolist()
    assert "1 units are left out" in found.remarks[0]
    units["grad_in_norm"] = np.nan
    with pytest.raises(ComparisonError, match="null or not finite"):
        compare_records(first, replace(first, units=units))
    with pytest.raises(ComparisonError, match="choose one of"):
        compare_records(first, first, "name")


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_can_be_compared(quantity: str) -> None:
    """And of a record with itself, there is no change."""
    record = several(3)
    found = compare_records(record, record, quantity)
    assert found.units["change"].tolist() == pytest.approx(
        [1.0 if found.geometric else 0.0] * len(found.units)
    )
    assert not found.units["differs"].any()
