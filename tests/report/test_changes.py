"""Which runs of a report are compared with which: those that were measured alike, whatever their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from _records import make_record

from gradflow import plots
from gradflow.record import Record
from gradflow.report.changes import compare_alike
from gradflow.report.figures import changes_kind
from gradflow.report.runs import Run, load_runs


def save(folder: Path, name: str, **options: Any) -> None:
    """Save ten seeds of a network as the run `name`."""
    seeds = [make_record(name, stages=(2, 2), seed=seed, checks=False, **options) for seed in range(10)]
    Record.concat(seeds).save(folder / name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Six runs, of which the first by name is like none, and the others are two groups in turn."""
    folder = tmp_path_factory.mktemp("runs")
    save(folder, "a", batch_size=64)
    for index, name in enumerate("bcdef"):
        save(folder, name, bn="batch" if index % 2 == 0 else "frozen", growth=1 + index / 10)
    return load_runs([folder])


def test_each_is_compared_with_the_first_that_was_measured_alike(runs: list[Run]) -> None:
    """Not with the first run of all, which is like none."""
    changes, remarks = compare_alike(runs)
    pairs = {(runs[each.baseline].folder, runs[each.index].folder) for each in changes}
    assert pairs == {("b", "d"), ("b", "f"), ("c", "e")}
    for change in changes:
        assert runs[change.baseline].label in change.sentences[0]
        assert runs[change.index].label in change.sentences[0]
    assert remarks[0] == (
        "Measured alike, and compared number by number: d (untrained), f (untrained) with b (untrained)."
    )
    assert remarks[1].endswith("e (untrained) with c (untrained).")
    alone = remarks[2]
    assert alone.startswith(
        "a (untrained) is compared number by number with no other run. From b (untrained)"
    )
    assert "batch size: 32 and 64: probe both with the same --batch-size" in alone


def test_one_group_needs_no_word_about_groups(runs: list[Run]) -> None:
    """All with the first one, as long as all can be."""
    changes, remarks = compare_alike([runs[1], runs[3], runs[5]])
    assert [(each.baseline, each.index) for each in changes] == [(0, 1), (0, 2)]
    assert remarks == []
    assert compare_alike(runs[:1]) == ([], [])


def test_the_figure_says_against_which_run(runs: list[Run]) -> None:
    """With one run for all it stands in the title, with several beside each name."""
    changes, _ = compare_alike(runs)
    legends = []
    for chosen in (changes, [each for each in changes if each.baseline == 1]):
        figure = plots.plot_changes([each.compared for each in chosen])
        (legend,) = figure.legends
        texts = [text.get_text() for text in legend.get_texts()]
        legends.append((legend.get_title().get_text(), texts[0]))
    assert legends[0] == ("Each against a run that was measured alike", "d (untrained) against b (untrained)")
    assert legends[1] == ("Against b (untrained)", "d (untrained)")


def test_captions_speak_of_a_band_only_where_there_is_one(tmp_path: Path, runs: list[Run]) -> None:
    """Ten seeds have one; three have none, and the caption says why."""
    for name in "gh":
        seeds = [make_record(name, stages=(2, 2), seed=seed, checks=False) for seed in range(3)]
        Record.concat(seeds).save(tmp_path / name)
    few = load_runs([tmp_path])
    for chosen, words in ((runs[1:4:2], "A band holds all units at once"), (few, "There is no band")):
        changes, _ = compare_alike(chosen)
        assert words in changes_kind(changes).caption
