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
from gradflow.errors import ComparisonError
from gradflow.record import Record
from gradflow.statistics import depth_trends


def several(count: int = 10, first: int = 0, **options: Any) -> Record:
    """Return a record of `count` seeds."""
    return Record.concat(
        [make_record(stages=(4, 4), seed=first + seed, checks=False, **options) for seed in range(count)]
    )


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
    # What the first unit's input has over the last one's output was multiplied by the first factor.
    assert found.summary.change == pytest.approx(1.0, rel=1e-12)
    assert compare_records(first, scaled(first, factors[::-1])).summary.change == pytest.approx(4, rel=1e-12)
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
    first_unit = units["unit"] == 0
    units.loc[first_unit, "grad_in_norm"] *= (
        units.loc[first_unit, "seed"].map(dict(enumerate(spread))).astype(float) + 0.1
    )
    found = compare_records(first, replace(first, units=units))
    expected = wilcoxon([np.log(value + 0.1) for value in spread]).pvalue
    assert found.summary.p_value == pytest.approx(expected, rel=1e-9)
    assert found.summary.p_value == pytest.approx(2 / 2**10, rel=1e-9)


def test_chance_alone_is_rarely_a_difference() -> None:
    """A negative control: of two records of one kind with other seeds hardly any differ, in any unit."""
    one, rng = make_record(stages=(4, 4), checks=False), np.random.default_rng(0)

    def drawn(first: int) -> Record:
        """Return ten seeds of one kind, whose norms scatter."""
        seeds = [one.units.assign(seed=first + seed) for seed in range(10)]
        units = pd.concat(seeds, ignore_index=True)
        scatter = np.exp(0.2 * rng.normal(size=(2, len(units))))
        norms = {"grad_in_norm": scatter[0], "grad_out_norm": scatter[1]}
        units = units.assign(**{name: units[name] * factor for name, factor in norms.items()})
        return replace(one, units=units)

    found = [compare_records(drawn(0), drawn(10)) for _ in range(20)]
    assert sum(one.summary.p_value < 0.05 for one in found) <= 4  # 1 expected; more than 4 has p = 0.003
    assert sum(bool(one.units["differs"].any()) for one in found) <= 4


@pytest.mark.parametrize("count", [1, 3, 9])
def test_few_repetitions_decide_nothing_and_say_so(count: int) -> None:
    """Differences are given; interval, band and p-value are not, and no unit is said to be clear of 1."""
    first = several(count)
    few = compare_records(first, scaled(first, [64.0, 1, 1, 1, 1, 1, 1, 1]))
    assert few.units["change"].iloc[0] == pytest.approx(64)
    assert few.units[["low", "high"]].isna().all(axis=None)
    assert np.isnan([few.summary.low, few.summary.p_value]).all()
    assert not few.units["differs"].any()
    said = " ".join(describe(few, "A", "B"))
    assert ("one repetition" if count == 1 else f"({count} seeds)") in said
    assert "nothing is decided; gradflow probe --seeds 0-9" in said
    assert not any(words in said for words in ("p =", "chance", "clear of", "95"))


def test_sentences_say_which_way_it_goes_and_whether_chance_explains_it() -> None:
    """A real difference and none, with the numbers of the comparison."""
    first = several()
    real = describe(compare_records(first, scaled(first, [4.0, 1, 1, 1, 1, 1, 1, 1])), "calm", "wild")
    assert "the second change is ×4 the first" in real[0]
    assert "bootstrap over 10 seeds, pair by pair; permutation test p = 0.00" in real[0]
    assert "which chance does not explain" in real[0]
    assert "most in unit 0 (stages.0.0): ×4 as large in wild as in calm" in real[1]
    none = describe(compare_records(several(), several(first=50)), "A", "B")
    assert "which may be chance" in none[0]
    assert "bootstrap over 10 seeds each;" in none[0]


def batches(count: int = 10, seed: int = 0, **options: Any) -> Record:
    """Return a record of `count` batches of the network of one seed."""
    return Record.concat(
        [
            make_record(stages=(4, 4), seed=seed, batch_index=index, checks=False, **options)
            for index in range(count)
        ]
    )


def test_batches_of_one_network_decide_nothing_about_networks() -> None:
    """Two networks that differ beyond any batch: there are intervals, over batches, and no verdict."""
    first = batches()
    found = compare_records(first, scaled(batches(seed=1), [4.0, 1, 1, 1, 1, 1, 1, 1]))
    assert found.paired
    assert np.isnan(found.summary.p_value)
    assert found.summary.low > 1
    assert found.units["differs"].iloc[0]
    said = describe(found, "A", "B")
    over = "10 batches of one network (seed 0) in A and 10 batches of one network (seed 1) in B, pair by pair"
    assert f"bootstrap over {over})" in said[0]
    assert "the band over all units at once, over the same repetitions, is clear of no change" in said[1]
    assert "nothing is decided about these; gradflow probe --seeds 0-9" in said[2]
    assert "chance" not in " ".join(said)
    # The same numbers as seeds of networks decide.
    assert "which chance does not explain" in " ".join(
        describe(compare_records(several(), scaled(several(), [4.0, 1, 1, 1, 1, 1, 1, 1])), "A", "B")
    )


def test_seeds_of_a_checkpoint_are_batches() -> None:
    """With trained weights, seeds choose batches; they are not paired with seeds of untrained networks."""
    checkpoint = {"name": "best.pt", "sha256": "ab" * 32, "iteration": 40}
    trained = compare_records(several(), several(checkpoint=checkpoint))
    assert not trained.paired
    assert not trained.decides
    over = "10 seeds in A and 10 batches of one network (best.pt, iteration 40) in B"
    assert over in " ".join(describe(trained, "A", "B"))
    assert compare_records(several(checkpoint=checkpoint), several(checkpoint=checkpoint)).paired


def test_the_change_along_depth_is_the_reports() -> None:
    """From the last unit's output to the first's input, as everywhere else, not from its input."""
    first, second = several(), several(first=20)
    found = compare_records(first, second)
    for record, value in ((first, found.summary.a), (second, found.summary.b)):
        trends = depth_trends(record.units)
        assert value == pytest.approx(float(trends.loc[trends["stage"].isna(), "ratio"].iloc[0]), rel=1e-12)
        ends = record.units.groupby("seed").agg({"grad_in_norm": "first", "grad_out_norm": "last"})
        by_hand = np.exp(np.log(ends["grad_in_norm"] / ends["grad_out_norm"]).mean())
        assert value == pytest.approx(float(by_hand), rel=1e-12)


def test_a_change_along_depth_that_is_not_there_is_said() -> None:
    """One seed has a gradient in no more than one place: nothing is tested, and units are compared still."""
    first = several()
    units = first.units.copy()
    dead = (units["seed"] == 3) & (units["unit"] != 4)
    units.loc[dead, ["grad_in_norm", "grad_out_norm", "grad_sum_norm"]] = 0.0
    units.loc[(units["seed"] == 3) & (units["unit"] == 4), "grad_out_norm"] = 0.0
    found = compare_records(first, replace(first, units=units))
    assert found.units["unit"].tolist() == [4]
    assert np.isnan([found.summary.change, found.summary.low, found.summary.p_value]).all()
    assert describe(found, "A", "B")[0] == (
        "How the gradient norm changes along depth cannot be said: it is 0 or not finite at its ends."
    )


def test_numbers_are_written_as_in_the_rest_of_a_report() -> None:
    """A minus sign and a space before the per cent, not a hyphen and none."""
    first = several()
    units = first.units.assign(
        backward_cosine=first.units["backward_cosine"] - 0.5 - 1e-3 * first.units["seed"]
    )
    said = " ".join(
        describe(compare_records(first, replace(first, units=units), "backward_cosine"), "A", "B")
    )
    assert "a difference of −0.50" in said
    assert "95\u00a0% interval −0.5" in said
    assert "-0." not in said


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
