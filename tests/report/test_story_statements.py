"""What the story says in short, and over what its intervals are, worked out from the tables otherwise."""

from __future__ import annotations

import csv
import math
import re
import shutil
from collections import defaultdict
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gradflow.report.story import write_story

REPORTS = Path(__file__).resolve().parents[2] / "reports"
Rows = list[dict[str, str]]
ENDS = ("", "_low", "_high")
_VARIANTS = {"gate:exclusive": "exclusive gate", "gate:shortcut": "shortcut-only gate"}


class Reader(HTMLParser):
    """The items of "In short" as text, headings, and every number with where it is from."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.items: list[str] = []
        self.headings: list[str] = []
        self.numbers: list[tuple[str, str]] = []
        self.text = ""
        self._in = {"short": False, "li": False, "heading": False, "number": False}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self._in["short"] = found.get("class") == "short"
        self._in["li"] |= tag == "li"
        self._in["heading"] |= tag in {"h2", "h3"}
        if tag == "li":
            self.items += [""] if self._in["short"] else []
        if tag in {"h2", "h3"}:
            self.headings.append("")
        self._in["number"] = tag == "a" and found.get("class") == "number" and "title" in found
        if self._in["number"]:
            self.numbers.append((str(found["title"]), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in["number"] = False
        if tag == "li":
            self._in["li"] = False
        if tag in {"h2", "h3"}:
            self._in["heading"] = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in["number"]:
            self.numbers[-1] = (self.numbers[-1][0], self.numbers[-1][1] + data)
        if self._in["heading"]:
            self.headings[-1] += data
        if self._in["short"] and self._in["li"]:
            self.items[-1] += data

    def item(self, words: str) -> str:
        """Return the one item that has `words`, with plain spaces."""
        (found,) = (item for item in self.items if words in item)
        return found.replace("\N{NO-BREAK SPACE}", " ")


def read(text: str) -> float:
    """Return a number as a person reads it."""
    text = text.lstrip("×").replace("−", "-").replace(",", "")
    mantissa, _, exponent = text.partition("·10")
    return float(mantissa) * 10.0 ** int(exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


def numbers_in(text: str) -> list[float]:
    """Return all factors in a text, without their intervals."""
    return [read(found) for found in re.findall(r"×\d[\d.,]*(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?(?= \[|$)", text)]


def rows(place: Path, analysis: str, table: str) -> Rows:
    """Return a table's rows as the file has them."""
    with (place / analysis / table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def story() -> Reader:
    """The page that is kept."""
    return Reader((REPORTS / "index.html").read_text(encoding="utf-8"))


def longest_chains(table: Rows) -> dict[str, Rows]:
    """Return, stage by stage, the rows with the most units between."""
    stages: dict[str, Rows] = defaultdict(list)
    for row in table:
        stages[row["stage"]].append(row)
    longest = {stage: max(int(row["units_between"]) for row in part) for stage, part in stages.items()}
    return {
        stage: [row for row in part if int(row["units_between"]) == longest[stage]]
        for stage, part in stages.items()
    }


def check_powers(item: str, table: Rows) -> None:
    """Check each stage's count, and that what shrank is named with its number."""
    shrunk = []
    for stage, ends in longest_chains(table).items():
        grown = [row for row in ends if float(row["whole_gain_low"]) > 1]
        assert f"{len(grown)} of {len(ends)} variants (stage {stage})" in item
        shrunk += [row for row in ends if float(row["whole_gain_high"]) < 1]
        for row in grown:
            if row["shortcut"].startswith("scale:") and float(row["predicted"]) < 1 and stage == "0":
                assert f"shortcut × {row['shortcut'].removeprefix('scale:')}" in item
    assert ("it shrank with" in item) == bool(shrunk)
    for row in shrunk:
        kind, _, bias = row["shortcut"].rpartition(",")
        assert f"{_VARIANTS[kind]}, bg={bias.replace('-', '−')}" in item
    told = numbers_in(item.partition("it shrank with")[2])
    assert told == pytest.approx([float(row["whole_gain"]) for row in shrunk], rel=5e-3)


def test_growth_is_told_stage_by_stage(story: Reader) -> None:
    """How many variants grew in each stage, and which shrank: against the story too."""
    table = rows(REPORTS, "shortcut_powers", "numbers.csv")
    check_powers(story.item("constant shortcuts"), table)
    assert any(float(row["whole_gain_high"]) < 1 for row in longest_chains(table)["0"]), "a control"
    for stage, ends in longest_chains(table).items():  # the chapter says the same of each stage
        grown = sum(float(row["whole_gain_low"]) > 1 for row in ends)
        assert f"in stage {stage} (" in story.text
        assert f"grew towards the input in {grown} of {len(ends)} variants" in story.text


def test_another_table_makes_other_sentences(tmp_path: Path) -> None:
    """Control: where the one that shrank has grown, it is counted so, and nothing is said to shrink."""
    leave = shutil.ignore_patterns("*.png", "*.pdf")
    place = tmp_path / "reports"
    shutil.copytree(REPORTS / "shortcut_powers", place / "shortcut_powers", ignore=leave)
    before = rows(place, "shortcut_powers", "numbers.csv")
    (row,) = (
        row
        for row in before
        if (row["shortcut"], row["stage"], row["units_between"]) == ("gate:exclusive,-6", "0", "18")
    )
    file = place / "shortcut_powers" / "numbers.csv"
    old = ",".join((row["whole_gain"], row["whole_gain_low"], row["whole_gain_high"]))
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, "1.2,1.1,1.3"), encoding="utf-8")
    page = Reader(write_story(place, tmp_path / "out")[0].read_text(encoding="utf-8"))
    check_powers(page.item("constant shortcuts"), rows(place, "shortcut_powers", "numbers.csv"))
    assert "it shrank with" not in page.item("constant shortcuts")
    with pytest.raises(AssertionError, match=r"12 of 13 variants \(stage 0\)"):
        check_powers(page.item("constant shortcuts"), before)


def test_what_is_against_the_growth_is_told(story: Reader) -> None:
    """Cases of Table 1 whose gradient shrinks are named with their numbers."""
    cases = rows(REPORTS, "table1_at_initialisation", "cases.csv")
    smaller = [row for row in cases if float(row["ratio_high"]) < 1]
    assert smaller
    item = story.item("networks of Table 1")
    assert f"in {len(smaller)} of {len(cases)}" in item
    assert numbers_in(item) == pytest.approx([float(row["ratio"]) for row in smaller], rel=5e-3)


def test_counts_in_short_are_the_tables(story: Reader) -> None:
    """Equations, pairs, depths and verdicts."""
    equations = rows(REPORTS, "table2_at_initialisation", "equations.csv")
    due, exact = (sum(int(row[name]) for row in equations) for name in ("exact_due", "exact"))
    assert f"{exact:,} of {due:,} statements" in story.item("algebra")
    pairs = rows(REPORTS, "minus_one", "numbers.csv")
    total, reaching, full, silent = (
        sum(int(row[name]) for row in pairs) for name in ("pairs", "reaching", "near_full", "silent")
    )
    item = story.item("pairs of a sample")
    assert f"In {total:,} pairs" in item
    assert (
        f"reached −1 in {reaching}, and came near cancelling the whole shortcut’s gradient in {full}" in item
    )
    assert silent > 0
    assert f"In {silent:,} more" in item
    verdicts = [row["verdict"] for row in rows(REPORTS, "initial_gradients", "predictions.csv")]
    good = sum(verdict in {"agrees", "agrees within 10 %"} for verdict in verdicts)
    bad = verdicts.count("disagrees")
    item = story.item("predictions about ResNets")
    assert f"Of {good + bad} predictions" in item
    assert f"{good} agree or nearly do, and {bad} disagree" in item
    units = rows(REPORTS, "initial_gradients", "numbers.csv")
    deepest = [row for row in units if row["depth"] == "1001" and row["bn"] == "batch"]
    for network, words in (("preact", "pre-activation"), ("resnet", "post-activation"), ("plain", "plain")):
        norms = [float(row["grad_in_norm"]) for row in deepest if row["network"] == network]
        told = re.search(rf"(×[\d.]+(?:·10\S+)?) in {words}", story.item("From the last unit"))
        assert told
        assert read(told[1]) == pytest.approx(norms[0] / norms[-1], rel=5e-3)


def test_what_training_did_is_told_by_the_definitions_of_the_page_it_links_to(story: Reader) -> None:
    """Errors, and whose factor a unit came nearer to 1; the numbers stand on the analysis's own page, too."""
    item, page = story.item("Trained for a short while"), (REPORTS / "training_runs/README.md").read_text()
    table = {(row["network"], row["trained"]): row for row in rows(REPORTS, "training_runs", "changes.csv")}
    tested: dict[str, float] = {}
    for row in rows(REPORTS, "training_runs", "curves.csv"):
        if row["test_error"]:
            tested[row["network"]] = float(row["test_error"])
    ways: dict[str, list[str]] = {"nearer": [], "farther": []}
    for network, error in tested.items():
        guessing = error > 0.88  # of ten classes
        assert f"{network} came to a test error of {100 * error:.1f} %" in item
        assert (f"{network} came to a test error of {100 * error:.1f} % (no better" in item) == guessing
        before, after = table[network, "False"], table[network, "True"]
        apart = float(before["gain_high"]) < float(after["gain_low"]) or float(after["gain_high"]) < float(
            before["gain_low"]
        )
        if apart and not guessing:
            farther = abs(math.log(float(after["gain"]))) > abs(math.log(float(before["gain"])))
            ways["farther" if farther else "nearer"].append(network)
        for row in (before, after):
            # rounded to five digits in the table, to three on the page
            found = [re.search(rf"{float(row[name]):.3g}", page) for name in ("gain", "share")]
            assert all(found), row
    assert ways["farther"], "a control: one goes against the story"
    nearer, _, farther = item.partition("came nearer to 1 in ")[2].partition(", and went farther from 1 in ")
    assert re.findall(r"[a-z]+\d+", nearer) == ways["nearer"]
    assert re.findall(r"[a-z]+\d+", farther) == ways["farther"]


def repetitions(row: dict[str, str]) -> str:
    """Return what a row's numbers are averaged over."""
    if "replicates" in row:
        trained = row["network"].endswith(", trained")
        return f"{row['replicates']} {'batches of one network' if trained else 'seeds'}"
    if int(row["seeds"]) > 1:
        return f"{row['seeds']} seeds"
    return f"{row['batches']} batches of one network"


@lru_cache
def cached_rows(place: Path, file: str) -> Rows:
    """Return the rows of a file that many numbers are from."""
    return rows(place, *file.split("/"))


def check_interval(title: str, text: str, place: Path) -> None:
    """Check that a row with these three numbers has as many repetitions as is said."""
    said = re.search(r"/(\S+): (\w+) of .*, with its 95 % interval over (.+)\Z", title)
    assert said, title
    file, column, over = title.partition(":")[0], said[2], said[3]
    value, low, high = re.findall(r"[−\d.,]+(?:·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?(?: %)?", text.replace(", ", " "))
    scale = 100 if "%" in text else 1
    shown = [
        (end, read(one.rstrip("% ,")) / scale) for end, one in zip(ENDS, (value, low, high), strict=True)
    ]
    fitting = [
        row
        for row in cached_rows(place, file)
        if all(row.get(f"{column}{end}") for end in ENDS)
        and all(math.isclose(one, float(row[f"{column}{end}"]), rel_tol=6e-3) for end, one in shown)
    ]
    assert fitting, (title, text)
    assert over in {repetitions(row) for row in fitting}, (title, text)


def test_every_bracket_says_over_what_it_is(story: Reader) -> None:
    """The number of seeds, or of batches of one network, is that of the table's row."""
    brackets = [(title, text) for title, text in story.numbers if "[" in text]
    assert len(brackets) > 100
    for title, text in brackets:
        check_interval(title, text.replace("\N{NO-BREAK SPACE}", " "), REPORTS)
    kinds = {re.sub(r"\d+", "n", title.rpartition("interval over ")[2]) for title, _ in brackets}
    assert kinds == {"n seeds", "n batches of one network"}
    assert "Square brackets are 95 % intervals: over seeds" in story.text
    title, text = next(one for one in brackets if one[0].endswith("10 seeds"))
    with pytest.raises(AssertionError, match="9 seeds"):  # a control
        check_interval(title.replace("10 seeds", "9 seeds"), text.replace("\N{NO-BREAK SPACE}", " "), REPORTS)


def test_no_heading_stands_twice_in_the_chapters(story: Reader) -> None:
    """Each part says what it tells; the last chapter names the analyses, which the others may share."""
    measured = [heading for heading in story.headings if heading.startswith("Measured")]
    assert len(measured) > 10
    assert len({heading.partition(": ")[2] for heading in measured}) == len(measured)


def test_images_and_seeds_are_said_once(story: Reader) -> None:
    """The header names each data set once; seeds are not mixed with the networks' depths."""
    said = re.search(r"Images: ([^.]*)\.", story.text)
    assert said
    names = said[1].split(", ")
    assert sorted(names) == sorted(set(names))
    assert "train" not in names
    assert "14,20,32 0" not in story.text
