"""The queue of full runs: networks that exist, published numbers, and a table that says what was not run."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from _runs import write_images

from gradflow.errors import RecordError
from gradflow.models.specification import make_spec

ANALYSES = Path(__file__).parents[2] / "analyses"

pytestmark = pytest.mark.skipif(not ANALYSES.is_dir(), reason="analyses/ is in the checkout only")


@pytest.fixture(scope="module")
def full() -> Iterator[SimpleNamespace]:
    """The names of the script's modules, which import each other as they do when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ANALYSES))
        modules = [
            importlib.import_module(f"full_training.{name}") for name in ("page", "published", "running")
        ]
        yield SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


PROVENANCE = {"command": "full_runs.py", "versions": {"torch": "2"}, "written": "2026-01-01T00:00:00"}


def test_every_run_is_a_network_of_the_zoo(full: SimpleNamespace) -> None:
    """Each entry's options make a specification, all of them different, and so are the names."""
    specs = set()
    for entry in full.QUEUE:
        words = dict(zip(entry.options[::2], entry.options[1::2], strict=True))
        options = {key.removeprefix("--"): value for key, value in words.items()}
        specs.add(make_spec(options.pop("model"), **options))
    assert len(specs) == len({entry.name for entry in full.QUEUE}) == len(full.QUEUE)
    assert [entry.name for entry in full.QUEUE[:2]] == ["preact164", "resnet164"]


def test_table_says_what_was_not_run(full: SimpleNamespace) -> None:
    """A finished run has its error, an unfinished one says so, and one that was not begun has no number."""
    entries = full.QUEUE[:3]
    progress = {
        entries[0].name: full.Progress(100, 100, 5.5, 5.4, "he2016", "cifar10"),
        entries[1].name: full.Progress(40, 100, 30.0, 30.0, "he2016", "cifar10"),
        entries[2].name: full.Progress(),
    }
    page = full.table_page(entries, progress, PROVENANCE)
    assert "Of 3 runs 1 are finished, 1 are begun and 1 have not been run." in page
    finished, unfinished, absent = page.split("|---|\n")[1].splitlines()[:3]
    assert "| 5.46 |" in finished
    assert "| 5.50 | 100 of 100 | cifar10, he2016 |" in finished
    assert "| unfinished: 30.00 | 40 of 100 |" in unfinished
    assert absent.endswith("| not run | not run | not run |")


def test_slices_finish_the_queue(full: SimpleNamespace, tmp_path: Path) -> None:
    """All runs that can finish do, though one beside them failed; what is finished is not run again."""
    write_images(tmp_path)
    entries = [full.Entry(name, ("--model", name, "--width=4"), "", 1.0) for name in ("preact8", "resnet8")]
    options = (
        *(f"--data=folder:{tmp_path}", "--input-shape=3,8,8", "--batch-size=8", "--iterations=2"),
        *("--probe-batch-size=8", "--check-every=0", "--quiet"),
    )
    queue = full.Queue(tmp_path / "runs", options)
    assert queue.unfinished(entries) == entries
    broken = full.Entry("broken", ("--no-such-option",), "", 1.0)
    with pytest.raises(RecordError, match="training failed in broken; its line is above"):
        queue.work([broken, *entries], minutes=5, pack=2)
    assert queue.unfinished(entries) == []
    progress = full.read_progress(tmp_path / "runs/preact8")
    assert progress.finished
    assert progress.last_error is not None
    assert progress.rate is not None
    assert progress.rate > 0
    queue.work(entries, minutes=5, pack=2)  # what is finished is not run again


@pytest.mark.parametrize(
    ("rates", "best"),
    [({1: 10.0, 2: 6.0, 4: 2.0}, 2), ({1: 10.0, 2: 4.0, 4: 3.0}, 4), ({1: 10.0, 2: None}, 1), ({1: None}, 1)],
)
def test_the_pack_is_the_one_that_makes_most_steps(
    full: SimpleNamespace,
    rates: dict[int, float | None],
    best: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two at 6 steps a second are faster than one at 10; where no second step was made, nothing is known."""
    started: list[int] = []
    module = importlib.import_module("full_training.running")

    def start(*_: object) -> SimpleNamespace:
        started.append(1)
        return SimpleNamespace(wait=lambda: 0)

    def progress(_: Path) -> object:
        together = {1: 1, 3: 2, 7: 4}[len(started)]
        return full.Progress(rate=rates[together])

    monkeypatch.setattr(full.Queue, "_start", start)
    monkeypatch.setattr(module, "read_progress", progress)
    assert full.Queue(tmp_path, ()).fastest_pack([full.QUEUE[0]] * 4, 20) == best
