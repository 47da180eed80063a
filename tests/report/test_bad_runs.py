"""Runs that cannot be shown, or show nothing: the page says so, and so does whoever made it."""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest
from _records import make_record, with_path_tables

from gradflow import plots
from gradflow.cli.entry import run as command
from gradflow.errors import IncompleteReportError, RecordError
from gradflow.record import SCHEMA_VERSION, Record
from gradflow.record.files import sha256
from gradflow.report import write_report
from gradflow.report.comparability import find_mixed_versions
from gradflow.report.emptiness import find_empty
from gradflow.report.page import render_page
from gradflow.report.runs import load_runs, load_usable


def save(folder: Path, name: str, record: Record | None = None) -> Path:
    """Save a record, a good one if none is given, as the run `name`; return its directory."""
    (record or make_record(name, stages=(3, 3))).save(folder / name)
    return folder / name


def rewrite_head(run: Path, **changes: object) -> None:
    """Change `record.json`, digests of metadata included, as another version of gradflow would write it."""
    head = json.loads((run / "record.json").read_text()) | changes
    head["meta_sha256"] = sha256(json.dumps(head["meta"], sort_keys=True, ensure_ascii=False).encode())
    (run / "record.json").write_text(json.dumps(head))


def save_damaged(folder: Path) -> None:
    """Save a run whose table of units lost its end."""
    table = save(folder, "damaged") / "units.parquet"
    table.write_bytes(table.read_bytes()[:-8])


def save_newer(folder: Path) -> None:
    """Save a run as a later gradflow would."""
    rewrite_head(save(folder, "newer"), schema_version=SCHEMA_VERSION + 1)


def save_older(folder: Path) -> None:
    """Save a run as an earlier gradflow would, that had no survival."""
    run = save(folder, "older")
    table = pq.read_table(run / "units.parquet")
    pq.write_table(
        table.drop_columns([name for name in table.column_names if "survival" in name]), run / "units.parquet"
    )
    head = json.loads((run / "record.json").read_text())
    head["tables"]["units"]["sha256"] = sha256((run / "units.parquet").read_bytes())
    meta = head["meta"] | {"schema_version": 0}
    rewrite_head(run, tables=head["tables"], meta=meta, schema_version=0)


def save_diverged(folder: Path) -> None:
    """Save a run of nothing finite."""
    record = make_record("diverged", stages=(3, 3), checks=False)
    floats = [name for name in record.units if record.units[name].dtype == np.float64]
    units = record.units.assign(**dict.fromkeys(floats, np.nan)).assign(nonfinite=7)
    save(folder, "diverged", Record(units, meta=record.meta))


@dataclass(frozen=True)
class Made:
    """A report on a good run and several bad ones: its error, its page as one reads it, and its directory."""

    error: str
    page: str
    out: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Write one report on all of them, for they do not get in each other's way."""
    folder = tmp_path_factory.mktemp("somebody's own place")
    save(folder / "runs", "good")
    for save_bad in (save_damaged, save_newer, save_older, save_diverged):
        save_bad(folder / "runs")
    save(folder / "runs", "empty", Record(meta=make_record(stages=(1,)).meta))
    with pytest.raises(IncompleteReportError, match="the page says so, and shows the rest") as raised:
        write_report([folder / "runs"], folder / "out")
    page = html.unescape(raised.value.page.read_text(encoding="utf-8"))
    return Made(str(raised.value), page, folder / "out")


@pytest.mark.parametrize(
    "why",
    [
        "the record 'damaged' is damaged: units.parquet is not the file that was written",
        f"the record 'newer' has schema version {SCHEMA_VERSION + 1}, and this gradflow reads up to",
        "the record 'empty' has no residual unit to report on",
        "diverged (untrained) has no finite number in its last iteration for the gradient norm, ",
        "older (untrained) has no finite number in its last iteration for the survival: nothing of it",
        "version 0 in older (untrained); what an older one lacks is null",
    ],
)
def test_what_cannot_be_shown_is_said(why: str, made: Made) -> None:
    """It is named on the page and in an error, without the place where somebody keeps it."""
    assert why in made.error
    assert why in made.page
    assert "Not everything that was asked for is here" in made.page
    assert "somebody's own place" not in made.page


def test_the_rest_is_shown(made: Made) -> None:
    """Runs that can be read are there; one of nothing finite has figures without it, and its count."""
    assert "good (untrained)" in made.page
    assert "no value for diverged (untrained): null, or not finite" in made.page
    assert "42 elements were NaN or infinite" in made.page
    readable = made.page[: made.page.index('<section id="columns">')].lower()
    meanings = r'title="[^"]*"|nan or infinite'
    assert "nan" not in re.sub(meanings, "", readable)


def test_an_older_version_is_drawn(made: Made) -> None:
    """A record of an older version is drawn beside current ones, and what it lacks is null."""
    assert "no value: there is no shortcut" in (made.out / "report" / "survival.svg").read_text("utf-8")
    assert "older (untrained)" in (made.out / "report" / "gradient-norm.svg").read_text("utf-8")


def test_mixed_versions_alone_are_in_the_exit_status(tmp_path: Path) -> None:
    """Two records of which nothing is missing but that are of two versions."""
    save(tmp_path / "runs", "new")
    old = save(tmp_path / "runs", "old")
    meta = json.loads((old / "record.json").read_text())["meta"]
    rewrite_head(old, meta=meta | {"schema_version": 0}, schema_version=0)
    assert find_empty(load_runs([tmp_path / "runs"])) == []
    assert command(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "version 0 in old (untrained)" in page[: page.index("<h3>")]


GRADIENT = ("grad_", "backward", "cancellation", "survival", "span_")
NULLED = {
    "the gradient": (
        GRADIENT,
        "shortcut and branch, the backward cosine, the cancellation and the survival:",
    ),
    "both cosines": (("forward_cosine", "backward_cosine"), "the forward cosine and the backward cosine:"),
    "one cosine": (("forward_cosine",), "for the forward cosine:"),
    "the forward pass": (
        ("shortcut_norm", "branch_norm", "sum_norm"),
        "for the forward norms of shortcut, branch and sum:",
    ),
}


def nulled(prefixes: tuple[str, ...], **options: Any) -> Record:
    """Return a record in which the columns that begin with one of `prefixes` are null."""
    record = make_record(stages=(3, 3), **options)
    columns = [name for name in record.units if str(name).startswith(prefixes)]
    units = record.units.assign(**dict.fromkeys(columns, np.nan)).assign(span_end=None)
    return Record(units, record.parameters, record.checks, record.steps, meta=record.meta)


@pytest.mark.parametrize(("prefixes", "named"), NULLED.values(), ids=NULLED)
def test_a_figure_of_null_columns_is_said(prefixes: tuple[str, ...], named: str, tmp_path: Path) -> None:
    """Where all that a figure draws is null, it is named by what it would show, and nothing else is."""
    save(tmp_path, "odd", nulled(prefixes))
    save(tmp_path, "good")
    (said,) = find_empty(load_runs([tmp_path]))
    assert said.startswith("preact164 (untrained) has no finite number in its last iteration for ")
    assert named in said


def test_null_parameters_and_paths_are_said(tmp_path: Path) -> None:
    """Tables beside the units count, where a record has them."""
    record = with_path_tables(make_record(stages=(2, 2)))
    record.parameters["grad_norm"] = np.nan
    record.paths["gradient"] = np.nan
    save(tmp_path, "odd", record)
    (said,) = find_empty(load_runs([tmp_path]))
    assert " for the parameters' gradient norms and the gradient by length of path: " in said


def test_a_figure_of_null_columns_is_in_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is made, says it in its box, and the command's status is 2."""
    save(tmp_path / "runs", "odd", nulled(GRADIENT))
    assert command(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    assert "no finite number in its last iteration for the gradient norm" in capsys.readouterr().err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Not everything that was asked for is here" in page


def test_what_a_network_cannot_have_is_not_missing(tmp_path: Path) -> None:
    """A plain network has no cosine, no survival and no way through a shortcut; spans may be of no unit."""
    save(tmp_path, "plain", make_record("plain", stages=(3, 3), shortcuts=False))
    save(tmp_path, "without spans", nulled(("span_",)))
    assert find_empty(load_runs([tmp_path])) == []


def test_where_nothing_can_be_read_there_is_no_page(tmp_path: Path) -> None:
    """With every run damaged, nothing is written."""
    save_damaged(tmp_path / "runs")
    save_newer(tmp_path / "runs")
    with pytest.raises(RecordError, match=r"damaged' is damaged") as raised:
        write_report([tmp_path / "runs"], tmp_path / "out")
    assert not isinstance(raised.value, IncompleteReportError)
    assert not (tmp_path / "out").exists()


def test_good_runs_have_no_problem(tmp_path: Path) -> None:
    """The control: of runs that can be read there is nothing to say."""
    save(tmp_path, "good")
    save(tmp_path, "better")
    runs = load_runs([tmp_path])
    assert load_usable([tmp_path])[1] == find_empty(runs) == find_mixed_versions(runs) == []


@pytest.mark.parametrize("name", [b"run-\xff", b"run-\x1b[2J", b"run-\n\x01"])
def test_names_that_are_no_text(name: bytes, tmp_path: Path) -> None:
    """A directory's name may be any bytes; what is no text in it is marked, in figures and page."""
    for number in (b"-1", b"-2"):
        save(tmp_path, os.fsdecode(name + number), make_record("same", stages=(2,), checks=False))
    runs = load_runs([tmp_path])
    assert all("\ufffd" in run.label and run.label.isprintable() for run in runs)
    svg = plots.figure_to_svg(plots.plot_gradient_norm([run.network for run in runs]))
    assert len(ET.fromstring(svg)) > 0
    assert "\ufffd" in render_page(runs, []).encode().decode()
