"""The story page: its numbers are the tables', and nothing but drawing and text gets onto it."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from gradflow.errors import RecordError
from gradflow.report.story import SOURCES, write_story
from gradflow.report.story.formulas import equation
from gradflow.statements import EQUATIONS

REPORTS = Path(__file__).resolve().parents[2] / "reports"
SMALL = "shortcut_powers"


class Page(HTMLParser):
    """What tests look at: tags with attributes, numbers (where from, text), and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.numbers: list[tuple[str, str]] = []
        self.text = ""
        self._quoting = False
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        self._quoting = tag == "a" and "number" in found.get("class", "") and "title" in found
        if self._quoting:
            self.numbers.append((found["title"], ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        self._quoting = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._quoting:
            self.numbers[-1] = (self.numbers[-1][0], self.numbers[-1][1] + data)

    def number(self, title: str) -> str:
        """Return the text of the one number that is from there."""
        (text,) = {text for where, text in self.numbers if where == title}
        return text


def read(text: str) -> float:
    """Return the number that a person reads: ×2.81·10⁵, −0.5, 12 %, 1,234 or 3 [2, 4]."""
    text = text.partition(" [")[0].lstrip("×").replace("−", "-").replace(",", "")
    percent = text.endswith("%")
    text = text.removesuffix("%").strip()
    mantissa, power, exponent = text.partition("·10") if "·10" in text else (text, "", "")
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    value = float(mantissa) * (10.0 ** int(exponent.translate(superscripts)) if power else 1)
    return value / 100 if percent else value


def rows(analysis: str, table: str) -> list[dict[str, str]]:
    """Return a table's rows as the file has them."""
    with (REPORTS / analysis / table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def copy(place: Path, *keys: str) -> Path:
    """Copy analyses to `place`, without weights and bitmaps."""
    for key in keys:
        shutil.copytree(REPORTS / key, place / key, ignore=shutil.ignore_patterns("*.pt", "*.png"))
    return place


def edit(path: Path, old: str, new: str) -> None:
    """Replace what is known to be in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of all analyses that are kept in the repository."""
    return Page(write_story(REPORTS, tmp_path_factory.mktemp("story"))[0])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A directory with one small analysis, to be edited."""
    return copy(tmp_path / "reports", SMALL)


def test_numbers_are_the_tables(whole: Page) -> None:
    """Numbers of each chapter, computed here from the files by other means."""
    cancelling = rows("minus_one", "numbers.csv")
    assert read(whole.number("minus_one/numbers.csv: sum of pairs over all rows")) == sum(
        int(row["pairs"]) for row in cancelling
    )
    least = min(cancelling, key=lambda row: float(row["least"]))
    where = f"{least['model']}, BN {least['bn']}, {least['form']}"
    shown = whole.number(f"minus_one/numbers.csv: least of {where}")
    assert read(shown) == pytest.approx(float(least["least"]), rel=5e-3)

    untrained = [row["verdict"] for row in cancelling if row["bn"] == "frozen"]
    shown = whole.number("minus_one/numbers.csv: rows of untrained networks whose verdict is “agrees”")
    assert read(shown) == untrained.count("agrees") > 0
    assert {row["verdict"] for row in cancelling if row["bn"] == "running"} == {"undecided"}
    assert "nothing is decided about those" in (REPORTS / "index.html").read_text(encoding="utf-8")

    equations = rows("table2_at_initialisation", "equations.csv")
    shown = whole.number("table2_at_initialisation/equations.csv: sum of exact over all rows")
    assert read(shown) == sum(int(row["exact"]) for row in equations)

    units = [
        row
        for row in rows("initial_gradients", "numbers.csv")
        if (row["network"], row["depth"], row["bn"]) == ("preact", "1001", "batch")
    ]
    ends = [float(row["grad_in_norm"]) for row in (units[0], units[-1])]
    assert (units[0]["unit"], units[-1]["unit"]) == ("0", "332")
    shown = whole.number(
        "initial_gradients/numbers.csv: first over last grad_in_norm of preact1001, BN batch"
    )
    assert read(shown) == pytest.approx(ends[0] / ends[1], rel=5e-3)

    case = next(
        row for row in rows("table1_at_initialisation", "cases.csv") if "scale:0.5,0.5" in row["case"]
    )
    shown = whole.number(
        f"table1_at_initialisation/cases.csv: ratio of {case['case']}, with its 95 % interval over 10 seeds"
    )
    assert read(shown) == pytest.approx(float(case["ratio"]), rel=5e-3)

    run = json.loads((REPORTS / "training_runs/provenance.json").read_bytes())["runs"]["preact164"]
    shown = whole.number("training_runs/provenance.json: iteration of the run preact164")
    assert read(shown) == run["iteration"]
    shown = whole.number("training_runs/curves.csv: test_error of preact164 at iteration 200")
    assert read(shown) == pytest.approx(run["last_error"], abs=5e-4)

    paths = [row for row in rows("paths_and_lesions", "paths.csv") if row["network"] == "preact20, trained"]
    shown = whole.number("paths_and_lesions/paths.csv: sum of length × share of preact20, trained")
    weighted = sum(int(row["length"]) * float(row["share"]) for row in paths)
    assert read(shown) == pytest.approx(weighted, rel=5e-3)

    verdicts = [row["verdict"] for row in rows("theory_elsewhere", "verdicts.csv")]
    shown = whole.number("theory_elsewhere/verdicts.csv: rows that disagree")
    assert read(shown) == verdicts.count("disagrees")


def test_every_number_leads_to_where_it_is_from(whole: Page) -> None:
    """A link to its analysis on the page, which has the command; a file that exists."""
    ids = {tag["id"] for _, tag in whole.tags if "id" in tag}
    links = [
        tag for name, tag in whole.tags if name == "a" and tag.get("class") == "number" and "title" in tag
    ]
    assert len(links) > 300
    for link in links:
        assert link["href"].removeprefix("#") in ids
        file = REPORTS / link["title"].partition(":")[0]
        assert file.is_file()
        assert link["href"] == f"#from-{file.parent.name}"
    for key in {link["href"].removeprefix("#from-") for link in links}:
        source = next(source for source in SOURCES if source.key == key)
        told = json.loads((REPORTS / key / (source.inside or "provenance.json")).read_bytes())
        assert (told["provenance"] if source.inside else told)["command"] in whole.text
        assert source.command in whole.text


def test_the_page_that_is_kept_is_up_to_date(whole: Page) -> None:
    """If not, `gradflow report --analyses reports` makes it anew."""
    assert Page(REPORTS / "index.html").numbers == whole.numbers


def test_a_changed_table_changes_the_page(small: Path, tmp_path: Path) -> None:
    """One cell makes another number, and no other; the same tables make the same bytes."""
    first = write_story(small, tmp_path / "a")[0]
    again = write_story(small, tmp_path / "b")[0]
    assert first.read_bytes() == again.read_bytes()
    table = small / SMALL / "rates.csv"
    line = next(line for line in table.read_text(encoding="utf-8").splitlines() if "convolution_rate" in line)
    value = line.split(",")[2]
    edit(table, line, line.replace(value, "-0.98765", 1))
    changed = Page(write_story(small, tmp_path / "c")[0]).numbers
    before = Page(first).numbers
    differing = [
        (old[1], new[1]) for old, new in zip(before, changed, strict=True) if old != new and old[0] == new[0]
    ]
    ((old, new),) = differing
    assert read(old) == pytest.approx(float(value), rel=5e-3)
    assert read(new) == pytest.approx(-0.98765, rel=5e-3)


def test_a_missing_analysis_is_said(small: Path, tmp_path: Path) -> None:
    """Every analysis that is not there is named with the command that makes it; the formulas stay."""
    page, found, missing = write_story(small, tmp_path / "out")
    assert found == [SMALL]
    assert set(missing) == {source.key for source in SOURCES} - {SMALL}
    shown = Page(page)
    for source in SOURCES:
        assert source.command in shown.text
        assert (f"Not measured here: {source.title}" in shown.text) == (source.key in missing)
    assert sum(name == "math" for name, _ in shown.tags) > 20


def test_ratios_in_training_are_told_when_they_are_there(small: Path, tmp_path: Path) -> None:
    """The slope, before training out of its conditions, and after it."""
    folder = small / "ratios_in_training"
    folder.mkdir()
    (folder / "ratios.csv").write_text(
        "layers,seed,iteration,identity,transition\n"
        "14,0,0,1.5,2\n14,0,150,1.25,2\n14,1,150,1.35,2\n32,0,150,1.1,2\n32,1,150,1.2,2\n"
    )
    (folder / "verdicts.csv").write_text(
        "law,at,layers,value,value_low,value_high,seeds,predicted,outside,verdict\n"
        "gain_nears_one,0,,-0.4,-0.5,-0.3,2,0,not trained,out of its conditions\n"
        "gain_nears_one,150,,-0.81,-0.9,-0.7,2,0,,agrees\n"
    )
    (folder / "provenance.json").write_text('{"command": "python ratios_in_training.py"}')
    shutil.copy(small / SMALL / "powers.svg", folder / "ratios.svg")
    page = Page(write_story(small, tmp_path / "out")[0])
    assert (
        page.number(
            "ratios_in_training/verdicts.csv: value of gain_nears_one, iteration 150, with its 95 % interval "
            "over 2 seeds"
        )
        == "−0.81 [−0.9,\N{NO-BREAK SPACE}−0.7]"
    )
    mean = page.number(
        "ratios_in_training/ratios.csv: mean over seeds of identity, 14 layers, last iteration"
    )
    assert mean == "1.300"
    assert "out of its conditions: not trained" in page.text


SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">{}</svg>'


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("numbers.csv", None, "missing"),
        ("numbers.csv", "", "No columns"),
        ("numbers.csv", "shortcut,stage\nidentity,0\n", "no column 'units_between'"),
        ("rates.csv", "law,shortcut,verdict,outside,value,predicted\n", "no row"),
        ("rates.csv", "law,shortcut,verdict,outside,value,predicted\na,b,c,d,many,1\n", "no number"),
        ("provenance.json", None, "missing"),
        ("provenance.json", "{", "Expecting"),
        ("provenance.json", "[]", "not an object"),
        ("provenance.json", '{"data": "x"}', "by which command"),
        ("powers.svg", None, "No such file"),
        ("powers.svg", "<svg", "no SVG"),
        ("powers.svg", "<html/>", "<html>"),
        ("powers.svg", SVG.format("<script>alert(1)</script>"), "<script>"),
        ("powers.svg", SVG.format('<g onload="alert(1)"/>'), "onload"),
        ("powers.svg", SVG.format("<foreignObject/>"), "<foreignObject>"),
        ("powers.svg", SVG.format('<a href="https://example.org"/>'), "<a>"),
        ("powers.svg", SVG.format('<image href="https://example.org/x.png"/>'), "a link"),
        ("powers.svg", SVG.format('<g style="fill: url(https://example.org)"/>'), "style"),
        ("powers.svg", SVG.format("<style>@import 'x.css';</style>"), "a style"),
    ],
)
def test_a_damaged_analysis_is_an_error_in_one_line(
    small: Path, tmp_path: Path, file: str, content: str | None, why: str
) -> None:
    """The line names the file, what is wrong, and what makes it anew; no page is written."""
    path = small / SMALL / file
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(RecordError, match=re.escape(why)) as caught:
        write_story(small, tmp_path / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "analyses/shortcut_powers.py" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("table", ["numbers.csv", "rates.csv"])
def test_an_empty_column_is_shown_or_refused(small: Path, tmp_path: Path, table: str) -> None:
    """Without any number in a column there is a page, or one line that says so: no other error."""
    (small / SMALL / "powers.svg").write_text(SVG.format(""))
    path = small / SMALL / table
    whole = pd.read_csv(path)
    shown, refused = 0, []
    for column in whole:
        whole.assign(**{str(column): None}).to_csv(path, index=False)
        try:
            page = Page(write_story(small, tmp_path / "out")[0])
        except RecordError as error:
            refused.append(str(error))
        else:
            shown += 1
            assert "nan" not in {text for _, text in page.numbers}
    assert shown
    assert all(table in line and "\n" not in line for line in refused)


def test_an_svg_that_means_two_things_is_read_as_one(small: Path, tmp_path: Path) -> None:
    """What an XML parser takes for text, comment or entity cannot become an element of the page."""
    (small / SMALL / "powers.svg").write_text(
        '<!DOCTYPE svg [<!ENTITY e "&#60;svg onload=alert(1)>">]>'
        + SVG.format("<text><![CDATA[<script>alert(2)</script>]]></text><!-- <script>alert(3)</script> -->"),
        encoding="utf-8",
    )
    page = Page(write_story(small, tmp_path / "out")[0])
    assert not [name for name, _ in page.tags if name == "script"]
    assert not [found for _, found in page.tags if any(attribute.startswith("on") for attribute in found)]


def test_markup_in_a_name_is_escaped(small: Path, tmp_path: Path) -> None:
    """Names from tables and provenance are shown as they are, and do nothing."""
    evil = "<script>alert('x')</script>"
    edit(small / SMALL / "numbers.csv", "scale:0.9", f'"scale:{evil}"')
    edit(small / SMALL / "rates.csv", "scale:0.9", f'"scale:{evil}"')
    edit(small / SMALL / "provenance.json", "python shortcut_powers.py", f"python shortcut_powers.py {evil}")
    page = Page(write_story(small, tmp_path / "out")[0])
    assert page.text.count(evil) >= 3
    assert not [name for name, _ in page.tags if name == "script"]


def test_nothing_is_fetched(whole: Page) -> None:
    """No script, style sheet, font or image comes from outside; links go to papers and files."""
    names = {name for name, _ in whole.tags}
    assert not names & {
        "script",
        "link",
        "iframe",
        "img",
        "object",
        "embed",
        "video",
        "audio",
        "base",
        "form",
    }
    for name, tag in whole.tags:
        for attribute, value in tag.items():
            assert not attribute.startswith("on")
            if attribute in {"href", "xlink:href", "src"}:
                if name == "a":
                    assert re.match(r"#|https://arxiv\.org/|[\w./-]+\Z", value), value
                else:
                    assert value.startswith(("#", "data:image/")), value
            assert not re.search(r"url\((?!#)", value)
    styles = "".join(re.findall(r"<style.*?</style>", whole.source, re.DOTALL))
    assert not re.search(r"@import|url\((?!#)", styles)
    assert len(whole.source.encode()) < 8 * 2**20


def test_the_page_can_be_read_aloud(whole: Page) -> None:
    """Ids are unique, links lead somewhere, figures and formulas have words, headings go down one by one."""
    ids = [tag["id"] for _, tag in whole.tags if "id" in tag]
    assert len(ids) == len(set(ids))
    for name, tag in whole.tags:
        target = tag.get("href", "#") if name == "a" else tag.get("aria-labelledby", "")
        if target.startswith("#") and target != "#":
            assert target[1:] in ids, target
    drawings = [tag for name, tag in whole.tags if name == "svg"]
    assert len(drawings) >= 15
    assert all(drawing.get("role") == "img" and drawing["aria-labelledby"] in ids for drawing in drawings)
    assert all(tag.get("alttext") for name, tag in whole.tags if name == "math")
    levels = [int(name[1]) for name, _ in whole.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in itertools.pairwise(levels))


def test_every_equation_can_be_typeset() -> None:
    """MathML without a rest of LaTeX, with limits above and below also in brackets."""
    for one in EQUATIONS:
        typeset = str(equation(one.number, one.form))
        assert typeset.count("<math ") == typeset.count("</math>") == 1
        assert "\\" not in re.sub(r'alttext="[^"]*"', "", typeset)
        assert not re.search(r"<msubsup><mo[^>]*>[∑∏]", typeset)
    with pytest.raises(LookupError, match="no equation 10"):
        equation("10", "forward")


def test_only_its_own_page_is_replaced(small: Path, tmp_path: Path) -> None:
    """A story is replaced by a newer one; an edited one and somebody's own page are kept."""
    out = tmp_path / "out"
    page = write_story(small, out)[0]
    assert write_story(small, out)[0] == page
    page.write_bytes(page.read_bytes().replace(b"measured", b"mended", 1))
    with pytest.raises(RecordError, match="was changed since gradflow wrote it"):
        write_story(small, out)
    page.write_text("mine")
    with pytest.raises(RecordError, match="was not written by gradflow report"):
        write_story(small, out)
    assert page.read_text() == "mine"


def test_no_analysis_at_all_is_refused(tmp_path: Path) -> None:
    """The line says what is expected and how it is made."""
    with pytest.raises(RecordError, match=r"no analysis in .* make one with: python analyses/"):
        write_story(tmp_path, tmp_path / "out")


def test_the_command_loads_no_torch(small: Path, tmp_path: Path) -> None:
    """`gradflow report --analyses` prints the page and names what is missing."""
    words = ["report", "--analyses", str(small), "--out", str(tmp_path / "out")]
    code = f"import sys; from gradflow.cli.entry import run; assert run({words!r}) == 0"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()
    assert "not made, and said so on the page: table2_at_initialisation" in done.stderr
