"""The gradient norm by depth in letters: heights computed by hand, its ends, and terminals without blocks."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _records import make_record

from gradflow.cli.depth_plot import BLOCKS, ROWS, plot_by_depth
from gradflow.cli.encoding import plain
from gradflow.cli.entry import run


def units(norms: list[float], stages: list[int] | None = None) -> pd.DataFrame:
    """Return units with these gradient norms."""
    count = range(len(norms))
    return pd.DataFrame({"unit": count, "stage": stages or [0] * len(norms), "grad_in_norm": norms})


def heights(lines: list[str]) -> list[int]:
    """Return the height of each column in eighths, read back from the letters."""
    rows = [line[11:] for line in lines[1 : 1 + ROWS]]
    width = max(map(len, rows))
    return [sum((" " + BLOCKS).index(row.ljust(width)[column]) for row in rows) for column in range(width)]


def test_heights_are_logarithms() -> None:
    """Four norms a factor of ten apart are a third of the height apart, each as wide as the others."""
    lines = plot_by_depth(units([1000.0, 100.0, 10.0, 1.0]))
    most = ROWS * len(BLOCKS)
    expected = [most, round(1 + (most - 1) * 2 / 3), round(1 + (most - 1) / 3), 1]
    found = heights(lines)
    assert found == [height for height in expected for _ in range(len(found) // 4)]


def test_ends_are_labelled() -> None:
    """The largest norm stands at the top row, the least at the bottom; stages and the last unit below."""
    lines = plot_by_depth(units([3e-7, *[0.5] * 10, 250.0], [0] * 6 + [1] * 6))
    assert lines[1].split()[0] == "250"
    assert lines[ROWS].split()[0] == "3.0e-07"
    assert lines[-1].split() == ["unit", "0", "6", "11"]
    assert lines[-1].index("6") - lines[-1].index("0") == len(heights(lines)) // 2


@pytest.mark.parametrize("count", [2, 9, 54, 69, 70, 333, 5000])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_and_falls_as_the_norms_do(count: int, width: int) -> None:
    """Any number of units in any width; a norm that falls is drawn so, many units to a column too."""
    lines = plot_by_depth(units([math.exp(-0.01 * unit) for unit in range(count)]), width)
    assert max(map(len, lines)) <= width
    found = heights(lines)
    assert found[0] > found[-1] >= 1
    assert all(np.diff(found) <= 0)


def test_what_cannot_be_drawn_is_left_blank_and_counted() -> None:
    """Zeros, NaN and infinities have no height; one norm makes no plot; equal ones are level."""
    lines = plot_by_depth(units([1.0, math.nan, 0.0, math.inf, 10.0]))
    assert "blank: 3" in lines[0]
    found = heights(lines)
    wide = len(found) // 5
    assert set(found[wide : 4 * wide]) == {0}
    assert min(found[0], found[-1]) > 0
    assert plot_by_depth(units([math.nan, 1.0])) == []
    assert len(set(heights(plot_by_depth(units([2.0, 2.0, 2.0]))))) == 1


def test_plain_letters_keep_columns_in_line() -> None:
    """ASCII of the same width, with higher blocks never lighter than lower ones."""
    lines = plot_by_depth(units([1000.0, 100.0, 10.0, 1.0]))
    written = [plain(line) for line in lines]
    assert all(line.isascii() for line in written)
    assert list(map(len, written)) == list(map(len, lines))
    assert written[0] == "|dE/dx| by unit, logarithmic"
    weights = [" .:#".index(plain(block)) for block in " " + BLOCKS]
    assert weights == sorted(weights)
    assert weights[-1] > weights[1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_any_terminal_can_be_written_to(
    encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an encoding lacks is written plainly, and what it has is written as it is."""
    make_record(stages=(4, 4)).save(tmp_path / "run")
    sink = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(sink, encoding=encoding))
    assert run(["show", str(tmp_path / "run")]) == 0
    text = sink.getvalue().decode(encoding)
    assert ("‖∂E/∂x‖ by unit" in text) == (encoding == "utf-8")
    assert ("|dE/dx| by unit" in text) == (encoding != "utf-8")
    assert ("█" in text) == (encoding in {"utf-8", "cp437"})
    assert "?" not in text
