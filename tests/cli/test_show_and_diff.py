"""`gradflow show` and `gradflow diff`: what they print, for people and for machines, and what they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from _records import make_record

from gradflow.record import Record


@pytest.fixture
def runs(tmp_path: Path) -> tuple[str, str]:
    """Two records of ten seeds each."""
    for name, growth in (("one", 1.0), ("other", 1.1)):
        seeds = [make_record(stages=(3, 3), growth=growth, seed=seed, checks=False) for seed in range(10)]
        Record.concat(seeds).save(tmp_path / name)
    return str(tmp_path / "one"), str(tmp_path / "other")


def test_diff_prints_a_table_that_fits_and_says_it_in_words(cli: Any, runs: tuple[str, str]) -> None:
    """80 columns at most; the sentences name the runs by their directories."""
    result = cli("diff", *runs)
    assert result.status == 0
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    assert "A: one, B: other" in result.stdout
    assert "From the last unit's output to the first's input" in " ".join(result.stdout.split())
    assert "over 10 seeds, pair by pair" in result.stdout


def test_diff_folds_many_units_into_stages(cli: Any, tmp_path: Path) -> None:
    """Eighty units make two lines, with the changes' range; --all-units has them all."""
    for name, factor in (("a", 1.0), ("b", 4.0)):
        seeds = [make_record(stages=(40, 40), seed=seed, checks=False) for seed in range(10)]
        record = Record.concat(seeds)
        record.units["grad_in_norm"] *= factor
        record.save(tmp_path / name)
    words = ("diff", str(tmp_path / "a"), str(tmp_path / "b"))
    folded = cli(*words).stdout
    assert max(map(len, folded.splitlines())) <= 80
    rows = [line.split() for line in folded.splitlines() if re.match(r" +\d  \d+ to \d+ ", line)]
    assert [row[1:4] for row in rows] == [["0", "to", "39"], ["40", "to", "79"]]
    assert all(row[6:9] == ["4", "4", "4"] for row in rows)  # every unit's change
    assert all(row[9:] == ["40", "of", "40"] for row in rows)
    whole = cli(*words, "--all-units").stdout
    assert len(rows_of_units(whole)) == 80


def test_diff_for_machines(cli: Any, runs: tuple[str, str]) -> None:
    """JSON holds everything, null for what there is not; CSV the units."""
    document = json.loads(cli("diff", *runs, "--format", "json").stdout)
    assert document["runs"] == ["one", "other"]
    assert document["repetitions"] == [10, 10]
    assert document["over"] == ["10 seeds", "10 seeds"]
    assert document["decides"] is True
    assert len(document["units"]) == 6
    assert set(document["summary"]) == {"a", "b", "change", "low", "high", "p_value"}
    table = pd.read_csv(StringIO(cli("diff", *runs, "--format", "csv").stdout))
    assert table["change"].tolist() == pytest.approx([unit["change"] for unit in document["units"]])


def test_diff_refuses_in_one_line(cli: Any, runs: tuple[str, str], tmp_path: Path) -> None:
    """Runs of other batches, a directory without a run, a quantity that does not exist."""
    make_record(stages=(3, 3), batch_size=64).save(tmp_path / "large")
    assert "batch size: 32 and 64" in cli("diff", runs[0], str(tmp_path / "large")).error
    assert "no record" in cli("diff", runs[0], str(tmp_path / "nothing")).error
    assert "--quantity" in cli("diff", *runs, "--quantity", "name").error


def rows_of_units(printed: str) -> list[str]:
    """Return the lines of a table that are about one unit each."""
    return re.findall(r"(?m)^ *\d+ +stages\.\d", printed)


def test_show_prints_units_or_stages(cli: Any, tmp_path: Path) -> None:
    """A row a unit; of many a row a stage, unless all are asked for."""
    make_record(stages=(3, 3)).save(tmp_path / "few")
    make_record(stages=(40, 40)).save(tmp_path / "many")
    assert len(rows_of_units(cli("show", str(tmp_path / "few")).stdout)) == 6
    folded = cli("show", str(tmp_path / "many")).stdout
    assert "first/last" in folded
    assert not rows_of_units(folded)
    assert len(rows_of_units(cli("show", str(tmp_path / "many"), "--all-units").stdout)) == 80


def test_show_of_a_training_run_is_its_last_iteration(cli: Any, tmp_path: Path) -> None:
    """The units of one iteration, in CSV as in the table."""
    records = [make_record(stages=(2, 2), iteration=iteration) for iteration in (0, 100)]
    Record.concat(records).save(tmp_path / "run")
    table = pd.read_csv(StringIO(cli("show", str(tmp_path / "run"), "--format", "csv").stdout))
    assert table["iteration"].unique().tolist() == [100]
    assert len(table) == 4


def test_show_checks_or_says_that_there_are_none(cli: Any, tmp_path: Path) -> None:
    """The checks of a record that has some; a line and status 2 for one without."""
    make_record(stages=(2, 2)).save(tmp_path / "checked")
    make_record(stages=(2, 2), checks=False).save(tmp_path / "unchecked")
    assert "holds" in cli("show", str(tmp_path / "checked"), "--checks").stdout
    assert "holds no checks" in cli("show", str(tmp_path / "unchecked"), "--checks").error


@pytest.mark.parametrize("command", ["show", "diff"])
def test_they_load_no_torch(command: str, runs: tuple[str, str]) -> None:
    """Reading takes no torch."""
    words = [command, *runs[: 2 if command == "diff" else 1]]
    code = f"import sys; from gradflow.cli.entry import run; assert run({words!r}) == 0"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
