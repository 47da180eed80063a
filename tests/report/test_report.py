"""The report: one page that holds everything, its own files only, and true sentences."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from _records import make_record, with_path_tables

from gradflow.errors import RecordError
from gradflow.plots.style import INK, PAPER
from gradflow.record import Record
from gradflow.report import write_report
from gradflow.report.comparability import find_differences
from gradflow.report.findings import compare_runs, describe_run
from gradflow.report.inline_svg import inline_svg
from gradflow.report.page import render_page
from gradflow.report.runs import label_runs, load_runs
from gradflow.report.tables import check_table, comparison_table

OWN_SCRIPTS = ["application/json", "module", "text/plain"]
TRAINED = {"name": "ckpt.pt", "sha256": "ab" * 32, "iteration": 64000}


def save_two_runs(path: Path) -> Path:
    """Save an untrained run of three seeds and a trained one into `path`."""
    seeds = [make_record("preact", stages=(3, 3), seed=seed) for seed in range(3)]
    Record.concat(seeds).save(path / "preact-1")
    trained = make_record("resnet", stages=(3, 3), identity=False, growth=0.9, checkpoint=TRAINED)
    trained.save(path / "resnet-1")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory with two runs."""
    return save_two_runs(tmp_path / "runs")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a report on two runs, to look at and not to change."""
    path = tmp_path_factory.mktemp("report")
    return write_report([save_two_runs(path / "runs")], path / "out").parent


class Page(HTMLParser):
    """Collects tags, ids and text; complains about tags that are not closed."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "path", "use", "rect", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.scripts = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts += data
        else:
            self.text += data

    def attributes(self, name: str) -> list[str]:
        """Return the values of every attribute of this name."""
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def read_page(path: Path) -> Page:
    """Parse the page at `path`."""
    return Page(path.read_text(encoding="utf-8"))


def test_page_and_figures_are_written(report: Path) -> None:
    """A report is the page, its figures as SVG, PNG and PDF, and the list of them."""
    out = report
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    figures = (
        "gradient-norm",
        "changes",
        "forward",
        "backward",
        "cosines",
        "cancellation",
        "survival",
        "checks",
        "parameters",
    )
    assert names == {
        "report.html",
        "report/manifest.json",
        *(f"report/{figure}.{kind}" for figure in figures for kind in ("svg", "png", "pdf")),
    }


def test_page_is_self_contained_and_well_formed(report: Path) -> None:
    """Nothing is loaded from anywhere, tags are closed, ids are unique and references lead somewhere."""
    page = read_page(report / "report.html")
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "image"}
    assert page.attributes("src") == []
    assert sorted(attrs["type"] for tag, attrs in page.tags if tag == "script") == OWN_SCRIPTS
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    references = [*page.attributes("href"), *page.attributes("xlink:href")]
    for reference in references:
        assert reference.removeprefix("#") in ids or (report / reference).is_file()
    assert "@import" not in page.text
    assert "url(http" not in page.text
    for clip in re.findall(r"url\(#([^)]+)\)", (report / "report.html").read_text()):
        assert clip in ids


def test_page_reads_aloud(report: Path) -> None:
    """Every figure has a title that names its runs, every table a caption; headings skip no level."""
    page = read_page(report / "report.html")
    tags = [tag for tag, _ in page.tags]
    assert tags.count("svg") == tags.count("figcaption") == 9
    labelled = [attrs["aria-labelledby"] for tag, attrs in page.tags if tag == "svg"]
    assert set(labelled) <= set(page.attributes("id"))
    assert tags.count("table") == tags.count("caption")
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))
    assert page.text.count("preact (untrained)") > 3


def test_page_says_what_was_measured(report: Path) -> None:
    """Model, checkpoint, data, batch, loss, BN mode with its meaning, seeds and versions are there."""
    text = read_page(report / "report.html").text
    for expected in (
        "1,704,154 parameters",
        "trained at iteration 64,000; ckpt.pt, SHA-256 abababababab…",
        "name synthetic, split train",
        "32 samples",
        "cross_entropy: 2.401",
        "0, 1, 2",
        "torch 2.15.0",
        "slices of the whole batch's gradient",
        "gradflow probe --model preact",
    ):
        assert expected in text


def test_same_runs_same_bytes(report: Path, runs: Path, tmp_path: Path) -> None:
    """A report on the same runs is the same, bit for bit, and may be repeated in place."""
    for _ in range(2):
        page = write_report([runs], tmp_path / "out")
        assert page == tmp_path / "out" / "report.html"
    for file in report.rglob("*.*"):
        assert (tmp_path / "out" / file.relative_to(report)).read_bytes() == file.read_bytes()


def test_markup_in_names_is_escaped(tmp_path: Path) -> None:
    """A model, unit, loss or note with markup in it shows as text and runs nothing."""
    evil = "<script>alert('x')</script>&amp;"
    record = make_record(evil, stages=(2, 2), notes=[evil], skipped=[{"what": evil, "why": evil}])
    record.units["name"] = evil
    record.save(tmp_path / "run")
    page = read_page(write_report([tmp_path / "run"], tmp_path / "out"))
    assert sorted(attrs["type"] for tag, attrs in page.tags if tag == "script") == OWN_SCRIPTS
    assert page.text.count(evil) > 8


def test_no_run(tmp_path: Path) -> None:
    """Where there is no run, the message names the place and what would make one."""
    with pytest.raises(RecordError, match=r"no run in.*gradflow probe"):
        write_report([tmp_path], tmp_path / "out")
    with pytest.raises(RecordError, match="no run at"):
        write_report([tmp_path / "missing"], tmp_path / "out")
    with pytest.raises(RecordError, match="no run to report on"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_run_is_named(runs: Path) -> None:
    """A run that is damaged is an error by its name."""
    (runs / "resnet-1" / "units.parquet").write_bytes(b"")
    with pytest.raises(RecordError, match=r"resnet-1' is damaged: units\.parquet"):
        load_runs([runs])


def test_labels_are_unique() -> None:
    """Runs are named by model and training, and by folder and number only where that is not enough."""
    plain, trained = make_record().meta, make_record(checkpoint=TRAINED).meta
    unknown = make_record(checkpoint=TRAINED | {"iteration": None}).meta
    assert label_runs([plain, trained, unknown], ["a", "b", "c"]) == [
        "preact164 (untrained)",
        "preact164 (trained at iteration 64,000)",
        "preact164 (trained)",
    ]
    assert label_runs([plain, plain], ["a", "b"]) == ["preact164 (untrained; a)", "preact164 (untrained; b)"]
    assert len(set(label_runs([plain] * 3, ["a", "a", "b"]))) == 3


def test_options_are_part_of_the_name() -> None:
    """A variant of a network is not called what the network is called."""
    model = make_record().meta["model"] | {"options": {"shortcut": "scale:0.5", "width": None}}
    assert label_runs([make_record(model=model).meta], ["a"]) == [
        "preact164 [shortcut scale:0.5] (untrained)"
    ]


def test_run_named_twice_is_shown_once(runs: Path) -> None:
    """A run given directly and by its directory is one run."""
    assert [run.folder for run in load_runs([runs / "resnet-1", runs])] == ["resnet-1", "preact-1"]


def write_and_load(tmp_path: Path, *records: Record) -> list[Any]:
    """Save `records` and load them as a report's runs."""
    for number, record in enumerate(records):
        record.save(tmp_path / f"run-{number}")
    return load_runs([tmp_path])


@pytest.mark.parametrize(
    ("changes", "aspect"),
    [
        ({"bn": "frozen"}, "BN mode"),
        ({"batch_size": 64}, "batch size"),
        ({"loss": {"name": "mean", "value": 1.0}}, "loss"),
        ({"data": {"name": "cifar10", "split": "test", "normalisation": None, "classes": 10}}, "data"),
    ],
)
def test_what_keeps_runs_apart_is_said(changes: dict[str, Any], aspect: str, tmp_path: Path) -> None:
    """Runs that differ in data, batch size, BN mode or loss are marked, by that aspect alone."""
    runs = write_and_load(tmp_path, make_record(stages=(2,)), make_record(stages=(2,), **changes))
    (difference,) = find_differences(runs)
    assert difference.startswith(f"{aspect}: ")
    assert "Not comparable number by number" in render_page(runs, [])


def test_comparable_runs_are_not_marked(runs: Path) -> None:
    """Runs that were measured alike carry no warning."""
    loaded = load_runs([runs])
    assert find_differences(loaded) == []
    assert "Not comparable" not in render_page(loaded, [])


def with_growth(growth: float, **options: Any) -> Record:
    """Return a record whose gradient grows by exactly `growth` in each of eight units of one stage."""
    record = make_record(stages=(8,), **options)
    norms = 0.01 * growth ** np.arange(8, -1, -1.0)
    units = record.units.assign(grad_in_norm=norms[:-1], grad_out_norm=norms[1:])
    return Record(units, record.parameters, record.checks, meta=record.meta)


def test_sentences_have_the_numbers(tmp_path: Path) -> None:
    """Growth by 2 in eight units is said as ×256 in all and ×2 a unit, and as growth."""
    (run,) = write_and_load(tmp_path, with_growth(2.0))
    said = " ".join(describe_run(run))
    assert "the gradient norm grows: stage 0 (units 0 to 7) to ×128, that is ×2 a unit" in said
    assert "it grows to ×256" in said
    (run,) = write_and_load(tmp_path / "other", with_growth(0.5))
    assert "it shrinks to ×0.00391" in " ".join(describe_run(run))


def test_sentences_about_samples_are_true(tmp_path: Path) -> None:
    """Whether a sample reaches −1 is said as it is, with the unit; in BN mode batch as slices."""
    record = make_record(stages=(4,))
    record.units.loc[2, "cancellation_min"] = -1.25
    (run,) = write_and_load(tmp_path, record)
    said = " ".join(describe_run(run))
    assert "at least one slice of the batch's gradient by sample reaches −1 in 1 of 4 units" in said
    assert "the least is −1.25 in unit 2 (stages.0.2, identity)" in said
    free = make_record(stages=(4,), bn="frozen", samples_coupled=False)
    (run,) = write_and_load(tmp_path / "other", free)
    assert "no sample reaches −1 in any unit" in " ".join(describe_run(run))


@pytest.mark.parametrize(
    ("errors", "holding", "said"),
    [
        ([0.5, 0.3, 0.1], [False] * 3, "all are off by 0.3 of its terms in the median."),
        ([1e-9] * 3, [True] * 3, "all hold all the same."),
        (
            [0.5, 1e-9, None],
            [False, True, None],
            "1 holds all the same, 1 is off by 0.5 of its terms, 1 could not",
        ),
    ],
)
def test_what_findings_come_to_is_counted(
    errors: list[float], holding: list[bool], said: str, tmp_path: Path
) -> None:
    """How many hold, how many are off and by how much of those, and how many could not be compared."""
    record = make_record(stages=(4,), identity=False)
    record.checks = record.checks.head(3).assign(error=errors, holds=pd.array(holding, dtype="boolean"))
    (run,) = write_and_load(tmp_path, record)
    assert f"3 more were measured where the network is not of that form (f is relu): {said}" in " ".join(
        describe_run(run)
    )


def test_failed_checks_are_said_and_shown_first(tmp_path: Path) -> None:
    """A check that fails is counted in the sentences, leads its table, and opens it."""
    record = make_record(stages=(4,))
    expected = record.checks.index[record.checks["expected_to_hold"]]
    record.checks.loc[expected[-1], "holds"] = False
    (run,) = write_and_load(tmp_path, record)
    assert f"Of {len(expected)} checks" in " ".join(describe_run(run))
    assert "1 FAIL" in " ".join(describe_run(run))
    assert [verdict for verdict, _ in check_table(run).rows()].index("fails") == 0
    page = render_page([run], [])
    assert "<details open>" in page
    assert '<tr class="fails">' in page


def test_findings_are_not_failures(runs: Path) -> None:
    """Where the network is not of the equations' form, deviations are findings with their reason."""
    said = " ".join(describe_run(load_runs([runs / "resnet-1"])[0]))
    assert "No checked equation is expected to hold" in said
    assert "(f is relu)" in said
    assert "FAIL" not in said


def test_what_is_not_finite_is_said(tmp_path: Path) -> None:
    """Overflow is counted and the place named in which it begins."""
    record = make_record(stages=(4,), checks=False)
    floats = [name for name in record.units if record.units[name].dtype == np.float64]
    units = record.units.assign(**dict.fromkeys(floats, np.nan)).assign(nonfinite=[0, 5, 7, 0])
    (run,) = write_and_load(tmp_path, Record(units, meta=record.meta))
    said = " ".join(describe_run(run))
    assert "12 elements were NaN or infinite, in 2 of 4 units: going forward, it began between" in said
    assert "between the addition of unit 0 (stages.0.0) and unit 1 (stages.0.1)" in said


def test_runs_are_compared_along_depth(tmp_path: Path) -> None:
    """The runs whose gradient changes most and least are named, in all and by the unit, as in their table."""
    shallow = with_growth(0.25, seed=1)
    shallow.units = shallow.units[shallow.units["unit"] >= 6].reset_index(drop=True)
    runs = write_and_load(tmp_path, shallow, with_growth(1.75), with_growth(1.1))
    in_all, a_unit, *_ = compare_runs(runs)
    # ×0.25² is less far from 1 than ×1.75⁸, though a unit of it does more.
    assert re.search(r"most in \S+ \(untrained; run-1\) \(×88 in all\), least in .*run-2", in_all)
    assert re.search(r"most in \S+ \(untrained; run-0\) \(×0.25 a unit towards the input, R² 1\)", a_unit)
    table = comparison_table(runs).frame
    assert table["ratio"].tolist() == pytest.approx([0.25**2, 1.75**8, 1.1**8])


def test_one_run_is_compared_with_nothing(runs: Path) -> None:
    """A single run has no comparison."""
    assert compare_runs(load_runs([runs / "preact-1"])) == []


def test_inline_svg_takes_the_pages_colours_and_keeps_its_text() -> None:
    """Colours become the page's, ids are the figure's own, and numbers that are text stay as they are."""
    svg = (
        f'<?xml version="1.0"?><svg viewBox="0 0 1 1"><g id="unused"><path id="p" d="M 1.23456 2" '
        f'style="fill: {INK}; stroke: {PAPER}"/></g><use href="#p"/><text style="font: 9px \'DejaVu Sans\'">'
        "0.00512</text></svg>"
    )
    inline = inline_svg(svg.encode(), "key", "what <it> shows")
    assert "0.00512" in inline
    assert "M 1.23 2" in inline
    assert "fill: var(--ink); stroke: var(--paper)" in inline
    assert 'id="key-p"' in inline
    assert 'href="#key-p"' in inline
    assert "unused" not in inline
    assert "what &lt;it&gt; shows</title>" in inline
    assert "DejaVu" not in inline


def test_report_needs_no_torch_and_is_small(tmp_path: Path) -> None:
    """A page on two runs of 54 units stays below 8 MB, and making it loads no torch."""
    for name in ("preact164", "resnet164"):
        make_record(name).save(tmp_path / "runs" / name)
    code = (
        "import pathlib, sys; from gradflow.report import write_report; "
        "runs, out = map(pathlib.Path, sys.argv[1:]); write_report([runs], out); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "runs", tmp_path / "out"], check=True)
    assert (tmp_path / "out" / "report.html").stat().st_size < 8e6


def test_empty_record_is_refused(tmp_path: Path) -> None:
    """A record without a unit has nothing to report."""
    Record(units=pd.DataFrame(), meta=make_record(stages=(1,)).meta).save(tmp_path / "run")
    with pytest.raises(RecordError, match="has no residual unit to report on"):
        load_runs([tmp_path / "run"])


def test_what_only_some_runs_have_is_shown_where_they_have_it(tmp_path: Path) -> None:
    """Jacobians, paths and lesions have figures, tables and sentences if a run holds them, else nothing."""
    with_path_tables(make_record(stages=(2, 2))).save(tmp_path / "with")
    make_record(stages=(2, 2)).save(tmp_path / "without")
    keys = ("spectrum", "paths", "lesions")
    bare = write_report([tmp_path / "without"], tmp_path / "bare").read_text()
    full = write_report([tmp_path / "with", tmp_path / "without"], tmp_path / "full").read_text()
    for key in keys:
        assert f'id="figure-{key}"' in full
        assert f'id="figure-{key}"' not in bare
        assert (tmp_path / "full" / "report" / f"{key}.png").exists()
    for words in ("Jacobians: 5", "Singular values: 15", "Paths: 5", "Lesions: 7"):
        assert words in full
        assert words not in bare


def test_sentences_about_jacobians_paths_and_lesions(tmp_path: Path) -> None:
    """Each says the numbers of its table."""
    with_path_tables(make_record(stages=(2, 2))).save(tmp_path / "run")
    (run,) = load_runs([tmp_path / "run"])
    text = " ".join(describe_run(run))
    assert "The Jacobians ∂F/∂x of 4 branches have a root mean square singular value of" in text
    assert "From x0 to x4 the root mean square singular value is" in text
    assert "the largest 80." in text
    # The shares are a binomial's with p = 0.6 / 1.6.
    assert "Of all paths through the 4 units, those with 0 to 3 branches" in text
    assert "a path has 1.5 branches, where the mean of all paths is 2." in text
    assert "With all units the error is 0.07; with one left out it is 0.095 in the median" in text
    assert "at most 0.11, without unit 3." in text
    assert "With 2 units left out together the error is 0.205." in text


def test_training_is_shown_where_there_was_one(report: Path, tmp_path: Path) -> None:
    """A record of a training run has the figure over iterations; others have not."""
    assert not (report / "report/training.svg").exists()
    steps = pd.DataFrame({"iteration": [1, 2], "loss": [2.0, 1.0], "error": [0.9, 0.8], "learning_rate": 0.1})
    probed = make_record("preact", stages=(2, 2), checkpoint=TRAINED | {"iteration": 2})
    Record(probed.units.assign(iteration=2), steps=steps, meta=probed.meta).save(tmp_path / "run")
    page = write_report([tmp_path / "run"], tmp_path / "out")
    assert (page.parent / "report/training.svg").is_file()
    assert 'id="figure-training"' in page.read_text()
