"""Limits on gradient flow: how they are written, what breaks them, and what is said then."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from _records import make_record

from gradflow.errors import LimitError
from gradflow.findings import QUANTITIES, Limit, find_violations, read_limits
from gradflow.record import Record

# Four units by hand: gradients 8, 2, 4, 4 from the input up, and 1 at the loss's end.
ARRIVING, LEAVING = [2.0, 4.0, 4.0, 1.0], [8.0, 2.0, 4.0, 4.0]
BY_HAND = {
    "decay_per_unit": (">", [0.25, 2.0, 1.0, 0.25]),
    "growth_per_unit": (">", [4.0, 0.5, 1.0, 4.0]),
    "shortcut_share": ("<", [0.5, 0.9, 0.1, 0.5]),
    "branch_share": ("<", [0.2, 0.2, 0.5, 0.8]),
    "survival": ("<", [1.0, 0.25, 2.0, 1.0]),
    "nonfinite": (">", [0.0, 0.0, 3.0, 0.0]),
}


def by_hand() -> Record:
    """Return a record whose numbers are those of `BY_HAND`."""
    record = make_record(stages=(4,), checks=False)
    units = record.units.assign(
        grad_in_norm=LEAVING,
        grad_out_norm=ARRIVING,
        grad_shortcut_norm=[1.0, 3.0, 1.0, 1.0],
        grad_branch_norm=[1.0, 1.0, 3.0, 1.0],
        shortcut_norm=[2.0, 2.0, 1.0, 1.0],
        branch_norm=[1.0, 1.0, 1.0, 2.0],
        survival_p50=[1.0, 0.25, 2.0, 1.0],
        nonfinite=[0, 0, 3, 0],
    )
    return Record(units, record.parameters, meta=record.meta)


def test_every_quantity_is_computed_by_hand() -> None:
    """The table of quantities above is the whole of `QUANTITIES`."""
    assert BY_HAND.keys() == QUANTITIES.keys()


@pytest.mark.parametrize("name", BY_HAND)
def test_the_worst_unit_is_named_with_value_and_limit(name: str) -> None:
    """A limit just short of the worst unit's number names that unit alone; the number itself passes."""
    sign, values = BY_HAND[name]
    worst = int(np.argmax(values) if sign == ">" else np.argmin(values))
    extreme = values[worst]
    beside = extreme * 0.999 if sign == ">" else extreme * 1.001
    (violation,) = find_violations(by_hand(), [Limit(name, sign, beside)])
    assert violation.where == f"unit {worst} (stages.0.{worst}, {'projection' if worst == 0 else 'identity'})"
    assert violation.value == pytest.approx(extreme)
    assert violation.others == sum(value == extreme for value in values) - 1
    assert f"{name} is {extreme:.4g}" in str(violation)
    assert f"is to be {'at most' if sign == '>' else 'at least'} {beside:g}" in str(violation)
    rounding = 1e-12 if sign == ">" else -1e-12
    assert find_violations(by_hand(), [Limit(name, sign, extreme * (1 + rounding))]) == []


def test_more_units_are_counted_and_passes_told_apart() -> None:
    """Of several seeds the unit and the seed are named; how many other units break the limit is said."""
    records = [
        make_record(stages=(4,), checks=False, growth=growth, seed=seed)
        for seed, growth in enumerate((1.0, 2.0))
    ]
    (violation,) = find_violations(Record.concat(records), [Limit("growth_per_unit", ">", 1.5)])
    assert violation.where.endswith(", seed 1")
    assert str(violation).endswith("(and 3 more units)")


@pytest.mark.parametrize(
    ("arriving", "leaving", "value"),
    [(1.0, 0.0, math.inf), (0.0, 0.0, math.nan), (math.nan, math.nan, math.nan)],
    ids=["vanished", "dead", "missing"],
)
def test_what_cannot_be_judged_does_not_pass(arriving: float, leaving: float, value: float) -> None:
    """A gradient that vanishes, is 0 on both sides, or is missing breaks any limit on its decay."""
    record = by_hand()
    record.units.loc[2, ["grad_out_norm", "grad_in_norm"]] = arriving, leaving
    (violation,) = find_violations(record, [Limit("decay_per_unit", ">", 1e9)])
    assert violation.where.startswith("unit 2 ")
    assert violation.value == pytest.approx(value, nan_ok=True)
    assert ("is infinite" if math.isinf(value) else "has no value, for its gradient is 0, missing") in str(
        violation
    )


def test_parameters_that_are_not_finite_break_a_limit_too() -> None:
    """Stem and head are in no unit, and are named."""
    record = make_record(stages=(2,), checks=False)
    record.parameters.loc[record.parameters["name"] == "head.bias", "nonfinite"] = 2
    (violation,) = find_violations(record, read_limits("nonfinite"))
    assert str(violation) == "parameter head.bias: nonfinite is 2, and is to be at most 0"
    assert find_violations(make_record(stages=(2,), checks=False), read_limits("nonfinite")) == []


def test_networks_without_shortcut() -> None:
    """What no unit has cannot be limited; blocks without shortcut beside units with one are left out."""
    plain = make_record(stages=(4,), shortcuts=False)
    with pytest.raises(
        LimitError, match="shortcut_share cannot be limited here: no unit of this network has"
    ):
        find_violations(plain, [Limit("shortcut_share", "<", 0.5)])
    mixed = by_hand()
    mixed.units["shortcut"] = pd.array(["none", "identity", "identity", "identity"], dtype="string")
    mixed.units.loc[0, ["grad_shortcut_norm", "grad_branch_norm"]] = np.nan
    (violation,) = find_violations(mixed, [Limit("shortcut_share", "<", 0.45)])
    assert violation.where.startswith("unit 2 ")
    assert violation.others == 0


def test_expressions_are_read() -> None:
    """Conditions are separated by `or` or commas, spaces do not matter, and `nonfinite` needs no number."""
    expected = (
        Limit("decay_per_unit", ">", 1.5),
        Limit("shortcut_share", "<", 0.1),
        Limit("nonfinite", ">", 0),
    )
    assert read_limits("decay_per_unit > 1.5 or shortcut_share < 0.1 or nonfinite") == expected
    assert read_limits(" decay_per_unit>15e-1,shortcut_share<.1, nonfinite>0 ") == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "'' is no condition to fail on"),
        ("nonfinite or", "'' is no condition to fail on"),
        ("decay_per_unit 2", "'decay_per_unit 2' is no condition to fail on"),
        ("decay_per_unit", "decay_per_unit takes < or >, and a number"),
        ("decay_per_unit >= 2", "decay_per_unit takes < or >, and a number"),
        ("decay_per_unit == 2", "decay_per_unit takes < or >, and a number"),
        ("decay_per_unit > two", "'two' is no number"),
        ("decay_per_unit > nan", "must be a finite number, not nan"),
        ("decay_per_unit > inf", "must be a finite number, not inf"),
        ("decay_per_unit > -1", "must be a number of at least 0, not -1"),
        ("shortcut_share < 1.5", "must be a number from 0 to 1, not 1.5"),
        ("decay > 2", "'decay' is nothing that can be limited; expected decay_per_unit, growth_per_unit"),
        ("decay", "'decay' is nothing that can be limited"),
        ("decay_per_unit > 2 and nonfinite", "is no condition to fail on"),
    ],
)
def test_expressions_that_say_nothing_are_refused(expression: str, message: str) -> None:
    """Each is one line that says what is wrong."""
    with pytest.raises(LimitError, match=r"^[^\n]+$") as refused:
        read_limits(expression)
    assert message in str(refused.value)
