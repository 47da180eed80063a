"""`gradflow report`: which runs it takes, where the page goes, and what it must not load."""

from __future__ import annotations

from pathlib import Path

import pytest

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision"}:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Absent())
"""

SMALL = ("--width", "4", "--batch-size", "2")


@pytest.fixture
def two_runs(cli) -> None:
    """Measure a pre- and a post-activation network."""
    for model in ("preact20", "resnet20"):
        assert cli("probe", "--model", model, *SMALL).status == 0


def test_every_run_is_shown_and_the_page_named(two_runs: None, cli) -> None:
    """Without arguments every run under runs/ goes into reports/, and the page's path is printed."""
    result = cli("report")
    assert result.status == 0, result.stderr
    page = Path(result.stdout.strip())
    assert page.parent == Path("reports")
    text = page.read_text(encoding="utf-8")
    assert "preact20" in text
    assert "resnet20" in text
    assert "2 runs: preact20-1, resnet20-1" in result.stderr


def test_report_loads_no_torch(two_runs: None, process) -> None:
    """A report is made without torch: it works where torch is not installed, and starts fast."""
    result = process(
        "report",
        code=WITHOUT_TORCH + "from gradflow.cli import main; main()",
    )
    assert result.status == 0, result.stderr
    assert Path(result.stdout.strip()).name.endswith(".html")


def test_probe_without_torch_says_what_to_install(process) -> None:
    """Where torch is missing, measuring is refused in one line that says so."""
    error = process(
        "probe", *("--model", "preact20"), code=WITHOUT_TORCH + "from gradflow.cli import main; main()"
    ).error
    assert "torch is not installed; run: pip install torch" in error


def test_chosen_runs_and_place(two_runs: None, cli) -> None:
    """Runs are named one by one, or by the directory they are in, and shown once."""
    result = cli("report", "runs/resnet20-1", "runs", "--out", "pages/both")
    assert result.status == 0, result.stderr
    assert result.stdout.startswith("pages/both/")
    assert "2 runs: resnet20-1, preact20-1" in result.stderr


def test_no_run_is_explained(cli) -> None:
    """Without a run there is nothing to show, and the message says how to make one."""
    assert "gradflow probe --model preact164" in cli("report").error
    Path("runs").mkdir()
    assert "no run in 'runs'; make one with: gradflow probe --model preact164" in cli("report").error
    assert "absent" in cli("report", "absent").error


def test_damaged_run_is_named(two_runs: None, cli) -> None:
    """A damaged record is refused by name; the page shows the rest and says so; the status is 2."""
    table = Path("runs/preact20-1/units.parquet")
    table.write_bytes(table.read_bytes()[:-10])
    result = cli("report")
    assert result.status == 2
    assert "error: the record 'preact20-1' is damaged" in result.stderr
    page = Path(result.stdout.strip()).read_text(encoding="utf-8")
    assert "the record &#39;preact20-1&#39; is damaged" in page
    assert "resnet20 [width 4] (untrained)" in page


def test_nothing_but_damaged_runs(two_runs: None, cli) -> None:
    """Where no record can be read, no page is written."""
    for table in Path("runs").glob("*/units.parquet"):
        table.write_bytes(table.read_bytes()[:-10])
    error = cli("report").error
    assert "runs/preact20-1" in error
    assert "damaged" in error
    assert not Path("reports").exists()


def test_unwritable_place_is_refused_first(two_runs: None, cli) -> None:
    """A place that cannot be written is refused."""
    Path("file").touch()
    assert "file is not a directory" in cli("report", "--out", "file/x").error
