"""Tables that fit a terminal."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from gradflow.cli.tables import (
    checks_table,
    cosine,
    failed_checks,
    failure_lines,
    finding_lines,
    number,
    print_blocks,
)
from gradflow.cli.unit_table import UNITS_AT_MOST, typical_units, units_caption, units_table
from gradflow.record import conform
from gradflow.statistics import depth_trends


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
                "grad_out_norm": 2 * (1.0 + unit + seed),
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
    lines = printed(capsys, units_table(typical_units(units(count))))
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.strip()[0].isdigit()]
    assert len(rows) == (count if count <= UNITS_AT_MOST else 3)


def test_unit_row_has_the_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """A unit's row shows the end of its name, its norms, and the cosine with its sign."""
    row = printed(capsys, units_table(typical_units(units(3))))[2].split()
    assert row[2:] == ["projection", "1.2e+04", "2", "4.0e-11", "2.0e-11", "-0.500"]
    assert row[1].endswith("unit1")


def test_stage_row_has_the_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    """A stage's row sets the gradient at its first unit's output against its last's, as findings do."""
    row = printed(capsys, units_table(typical_units(units(90))))[1].split()
    assert row == ["0", "0", "to", "29", "2", "60", "0.0333", "0.5", "-0.500"]
    stages = depth_trends(units(90))
    assert stages["ratio"].iloc[0] == pytest.approx(1 / 30)


def test_several_seeds_are_shown_by_their_median(capsys: pytest.CaptureFixture[str]) -> None:
    """Three seeds make one row a unit, with the median, and the caption says so."""
    several = units(3, seeds=(0, 5, 7))
    lines = printed(capsys, units_table(typical_units(several)))
    assert lines[1].split()[4] == "6"
    assert "median of 3 passes" in units_caption(several, typical_units(several))
    assert "median" not in units_caption(units(3), typical_units(units(3)))


def flow(gains: list[float]) -> pd.DataFrame:
    """Return units in which the gradient norm is multiplied by `gains`, the first unit's first."""
    frame = units(len(gains))
    handed_on = [math.prod(gains[unit:]) for unit in range(len(gains))]
    return frame.assign(grad_in_norm=handed_on, grad_out_norm=[*handed_on[1:], 1.0])


def test_units_that_stand_out_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    """One that grows, one that shrinks and one that is broken, by rows and folded, with what marks mean."""
    gains = [1.1, 1.12, 1.09] * 30
    gains[4], gains[70] = 8.0, 0.125
    strange = flow(gains)
    strange.loc[40, "grad_in_norm"] = math.nan
    typical = typical_units(strange)
    rows = printed(capsys, units_table(typical, folded=False))
    assert max(map(len, rows)) <= 80
    marked = [(row.split()[0], row.split()[-1]) for row in rows if row.split()[-1] in {"▲", "▼", "!"}]
    assert marked == [("4", "▲"), ("40", "!"), ("70", "▼")]
    stages = printed(capsys, units_table(typical))
    assert max(map(len, stages)) <= 80
    assert [line.split()[-1] for line in stages[1:]] == ["▲4", "!40", "▼70"]
    deep = flow([1.1, 1.12, 1.09] * 111)
    deep.loc[100:110, "grad_in_norm"] = math.nan
    stages = printed(capsys, units_table(typical_units(deep)))
    assert max(map(len, stages)) <= 80
    assert stages[0].split()[:2] == ["stage", "units"]
    assert stages[1].split()[-2:] == ["!100", "+10"]
    caption = units_caption(strange, typical)
    assert "▲ ▼: here the gradient grows or shrinks" in caption
    assert "!: the gradient is 0 or not finite" in caption
    assert max(map(len, caption.splitlines())) <= 80


def test_nothing_stands_out_among_likes() -> None:
    """Gains that scatter a little are not marked, nor is a single strange one among very few units."""
    even = flow([1.1, 1.12, 1.09] * 20)
    assert set(typical_units(even)["mark"]) == {""}
    assert "▲" not in units_caption(even, typical_units(even))
    assert set(typical_units(flow([1.1, 9.0, 1.1]))["mark"]) == {""}


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
