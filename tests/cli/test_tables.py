"""Tables that fit a terminal."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gradflow.cli.tables import (
    UNITS_AT_MOST,
    checks_table,
    cosine,
    failed_checks,
    failure_lines,
    finding_lines,
    number,
    print_blocks,
    units_caption,
    units_table,
)
from gradflow.record import conform


def units(count: int, seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """Return `count` units in three stages, whose gradient norm is the unit's number plus the seed."""
    return conform(
        "units",
        pd.DataFrame(
            {
                "iteration": 0,
                "seed": seed,
                "batch_index": 0,
                "unit": unit,
                "name": f"features.denseblock.stage{unit * 3 // count + 1}.unit{unit}",
                "stage": unit * 3 // count,
                "shortcut": "projection",
                "x_norm": 12345.678,
                "grad_in_norm": 1.0 + unit + seed,
                "grad_shortcut_norm": 4e-11,
                "grad_branch_norm": 2e-11,
                "backward_cosine": -0.5,
                "forward_cosine": math.nan,
            }
            for seed in seeds
            for unit in range(count)
        ),
    )


def checks() -> pd.DataFrame:
    """Return a check that holds, one that fails, one that is not comparable, and a finding."""
    row = {"equation": "5", "form": "vjp", "dtype": "float64", "span_start": 0, "span_end": 3}
    return conform(
        "checks",
        pd.DataFrame(
            [
                {**row, "error": 1e-16, "tolerance": 1e-14, "holds": True, "expected_to_hold": True},
                {**row, "error": 1e-3, "tolerance": 1e-14, "holds": False, "expected_to_hold": True},
                {**row, "error": None, "tolerance": 1e-14, "holds": None, "expected_to_hold": True},
                {
                    **row,
                    "error": 0.5,
                    "tolerance": 1e-14,
                    "holds": False,
                    "expected_to_hold": False,
                    "finding": "f is relu",
                },
            ]
        ),
    )


def printed(capsys: pytest.CaptureFixture[str], *blocks: object) -> list[str]:
    """Return the lines that `blocks` are printed as."""
    print_blocks(*blocks)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("count", [9, UNITS_AT_MOST, UNITS_AT_MOST + 1, 333])
def test_units_fit_80_columns(capsys: pytest.CaptureFixture[str], count: int) -> None:
    """A row a unit, or a row a stage where there are too many; never wider than a terminal."""
    lines = printed(capsys, units_table(units(count)))
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.strip()[0].isdigit()]
    assert len(rows) == (count if count <= UNITS_AT_MOST else 3)


def test_unit_row_has_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """A unit's row shows the end of its name, its norms, and the cosine with its sign."""
    row = printed(capsys, units_table(units(3)))[2].split()
    assert row[2:] == ["projection", "1.2e+04", "2", "4.0e-11", "2.0e-11", "-0.500"]
    assert row[1].endswith("unit1")


def test_stage_row_has_the_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    """A stage's row compares the gradient at its first unit with the one at its last."""
    row = printed(capsys, units_table(units(90)))[1].split()
    assert row == ["0", "0", "to", "29", "1", "30", "0.0333", "0.5", "-0.500"]


def test_several_seeds_are_shown_by_their_median(capsys: pytest.CaptureFixture[str]) -> None:
    """Three seeds make one row a unit, with the median, and the caption says so."""
    several = units(3, seeds=(0, 5, 7))
    lines = printed(capsys, units_table(several))
    assert lines[1].split()[4] == "6"
    assert "median of 3 passes" in units_caption(several)
    assert "median" not in units_caption(units(3))


def test_checks_fit_and_show_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    """Checks of one kind share a row with their worst span; findings are no failures."""
    lines = printed(capsys, checks_table(checks()))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "1/3" in text
    assert "FAILED" in text
    assert "finding" in text


def test_not_comparable_counts_as_failed() -> None:
    """A check that was expected to hold fails when its numbers overflowed; a finding never does."""
    assert len(failed_checks(checks())) == 2
    assert list(finding_lines(checks())) == ["not expected to hold on 1 span: f is relu"]


def test_failures_are_named_up_to_a_limit() -> None:
    """Failed checks are named with error and tolerance, and the rest is counted."""
    first, more = failure_lines(checks(), limit=1)
    assert first == "eq. 5 (vjp, float64) from unit 0 to 3: error 0.001 exceeds 1.0e-14"
    assert more == "and 1 more; --format json lists them"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (1234.5, "1.2e+03"),
        (1e-83, "1.0e-83"),
        (math.inf, "inf"),
        (None, "–"),
        (pd.NA, "–"),
    ],
)
def test_numbers_are_short(value: object, text: str) -> None:
    """Any number takes at most nine characters; null is a dash."""
    assert number(value) == text


def test_cosine_has_a_sign() -> None:
    """A cosine shows its sign; null is a dash."""
    assert (cosine(0.25), cosine(math.nan)) == ("+0.250", "–")
