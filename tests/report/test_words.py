"""What a report's page says beside its numbers: notes, what columns mean, where numbers are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _pages import training_record
from _records import make_meta, make_record

from gradflow.record.metadata import SAMPLES_COUPLED
from gradflow.report import training_table as training
from gradflow.report.comparability import as_sentence, explain_bn, explain_notes
from gradflow.report.figures import KINDS
from gradflow.report.glossary import make_glossary, typeset
from gradflow.report.runs import Run, load_runs
from gradflow.report.tables import stage_table, unit_table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a training run of 400 steps, with a test at every hundredth."""
    record = training_record()
    steps = record.steps.assign(test_error=np.where(record.steps["iteration"] % 100 == 0, 0.25, np.nan))
    record.steps = steps
    folder = tmp_path_factory.mktemp("trained") / "run"
    record.save(folder)
    return load_runs([folder])[0]


@pytest.mark.parametrize("said", [SAMPLES_COUPLED, SAMPLES_COUPLED.lower().rstrip(".")])
def test_batch_statistics_are_explained_once(said: str) -> None:
    """The note that samples are coupled is said in more words already; other notes are whole sentences."""
    notes = [said, "numbers are those of the whole job of 2 processes", "a.pt was trained on cifar10"]
    meta = make_meta(notes=notes)
    assert "couple the samples" in explain_bn(meta)
    assert explain_notes(meta) == [
        "Numbers are those of the whole job of 2 processes.",
        "a.pt was trained on cifar10.",
    ]
    uncoupled = make_meta(notes=[said], samples_coupled=False)
    assert explain_notes(uncoupled) == [as_sentence(said)], "where it is not said in other words, it stays"


def test_training_table_has_first_last_and_tested_steps(trained: Run) -> None:
    """The curves' numbers are there to be read, in no more rows than somebody reads."""
    table = training.training_table(trained)
    iterations = table.frame["iteration"].tolist()
    assert {1, 100, 200, 300, 400} <= set(iterations)
    assert iterations == sorted(set(iterations))
    assert len(iterations) <= training.MOST_ROWS
    assert [head.title for head in table.heads] == [
        "iteration",
        "loss",
        "learning_rate",
        "error",
        "test_error",
    ]
    tested = table.frame[table.frame["test_error"].notna()]
    assert tested["iteration"].tolist() == [100, 200, 300, 400]


def test_probes_have_no_training_table(tmp_path: Path) -> None:
    """The control: without a training run there is no step to show."""
    make_record(stages=(2,)).save(tmp_path / "run")
    assert len(training.training_table(load_runs([tmp_path])[0])) == 0


def test_figures_say_which_tables_have_their_numbers() -> None:
    """For those who do not see a figure: by the names that the page's tables have."""
    names = {"units", "training steps", "theory beside measurement", "equation checks", "parameters"}
    names |= {"jacobians and of singular values", "paths", "lesions"}
    for kind in KINDS:
        found = re.findall(r"(?:tables|in those) of ([A-Za-z ]+?)(?: below|[.,;])", kind.numbers)
        assert found, kind.key
        assert {name.lower() for name in found} <= names
    assert "training steps" in next(kind.numbers for kind in KINDS if kind.key == "training")


def test_glossary_has_each_column_once(trained: Run) -> None:
    """Tables of one kind share an entry, with every column that one of them has."""
    units, stages = unit_table(trained), stage_table(trained)
    entries = make_glossary([("Units", units), ("Stages", stages), ("Units", units)])
    assert [(entry.key, entry.title) for entry in entries] == [
        ("columns-units", "Units"),
        ("columns-stages", "Stages"),
    ]
    assert entries[0].heads == list(units.heads)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("‖∂E/∂x_{l+1}‖ & ‖h(x_l)‖", "‖∂E/∂x<sub>l+1</sub>‖ &amp; ‖h(x<sub>l</sub>)‖"),
        ("batch_norm+relu <b>", "batch_norm+relu &lt;b&gt;"),
        ("grad_in_norm, C(n, k)", "grad_in_norm, C(n, k)"),
    ],
)
def test_subscripts_are_typeset(text: str, html: str) -> None:
    """One letter's subscript stands lower; names with underlines, and markup, stay as they are."""
    assert str(typeset(text)) == html


def test_a_null_step_is_no_test(trained: Run) -> None:
    """A training table is of what the record has: a column of nulls is not in it."""
    assert pd.isna(trained.record.steps["test_loss"]).all()
    assert "test_loss" not in [head.column for head in training.training_table(trained).heads]
