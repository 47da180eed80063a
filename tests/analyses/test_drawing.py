"""The analyses' figures: text that can be read, one colour a network, and drawing again without measuring."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from gradflow.errors import RecordError
from gradflow.plots.style import NETWORK_COLOURS, PAPER

ROOT = Path(__file__).resolve().parents[2]
ANALYSES = ROOT / "analyses"
FIGURES = sorted((ROOT / "reports").glob("*/*.svg"))
_LEAST_FOR_TEXT = 4.5
_LEAST_FOR_LINES = 3.0

pytestmark = pytest.mark.skipif(not ANALYSES.is_dir(), reason="analyses/ is in the checkout only")


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.1."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of WCAG 2.1."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def text_colours(element: ET.Element, inherited: str = "#000000") -> Iterator[str]:
    """Yield the fill of every piece of text in a drawing."""
    said = re.search(r"fill: ?(#[0-9a-f]{6})", element.get("style", ""))
    fill = said[1] if said else element.get("fill", inherited)
    if element.tag.rpartition("}")[2] in {"text", "tspan"} and (element.text or "").strip():
        yield fill
    for child in element:
        yield from text_colours(child, fill)


def unreadable(svg: str) -> set[str]:
    """Return the colours of text that has too little contrast on paper."""
    return {
        colour for colour in text_colours(ET.fromstring(svg)) if contrast(colour, PAPER) < _LEAST_FOR_TEXT
    }


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_text_in_figures_can_be_read(figure: Path) -> None:
    """On paper, in every figure that is kept; and each is there as PNG and PDF, too."""
    svg = figure.read_text(encoding="utf-8")
    assert len(list(text_colours(ET.fromstring(svg)))) > 5
    assert unreadable(svg) == set()
    assert figure.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_text_in_a_networks_colour_is_found() -> None:
    """Control: what is too light is seen, whether said by the element or by what it stands in."""
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><g style="fill: {0}"><text>{1}</text></g></svg>'
    assert unreadable(drawing.format("#de8f05", "light")) == {"#de8f05"}
    assert unreadable(drawing.format("#de8f05", '<tspan style="fill: #1f2328">dark</tspan>')) == set()


def test_pdfs_are_small() -> None:
    """Together below what a clone of the repository notices."""
    assert sum(path.stat().st_size for path in (ROOT / "reports").glob("*/*.pdf")) < 2 * 2**20


def test_a_network_has_one_colour_in_all_figures() -> None:
    """Its family's; what varies in it has colours that no network has, seen on light and on dark paper."""
    colours: Any = importlib.import_module("common.colours")
    families = [colours.colour_of(name) for name in ("preact20", "resnet164", "plain56", "scaled", "rezero")]
    assert len(set(families)) == len(families)
    assert colours.colour_of("preact164, trained") == colours.colour_of("preact") == families[0]
    with pytest.raises(LookupError, match="vgg"):
        colours.colour_of("vgg16")
    assert not set(colours.VARIANTS) & set(NETWORK_COLOURS)
    style = (ROOT / "gradflow/report/templates/style.css").read_text(encoding="utf-8")
    papers = re.findall(r"--paper: (#[0-9a-f]{6})", style)
    assert len(papers) == 2  # light and dark
    for colour in colours.VARIANTS:
        assert all(contrast(colour, paper) >= _LEAST_FOR_LINES for paper in papers), colour
    styles = [colours.variant_style(number) for number in range(5)]
    for what in ("color", "linestyle", "marker"):
        assert len({str(style[what]) for style in styles}) == len(styles)


def test_nothing_else_gives_a_network_its_colour() -> None:
    """No figure of the analyses counts through the palette by itself."""
    chosen = [
        path.relative_to(ANALYSES).as_posix()
        for path in ANALYSES.rglob("*.py")
        if re.search(r"network_colour|NETWORK_COLOURS", path.read_text(encoding="utf-8"))
    ]
    assert chosen == ["common/colours.py"]


@dataclass
class Made:
    """An analysis that was measured once, and what draws it again."""

    out: Path
    result: Any

    def write(self, *, redraw: bool, **changes: Any) -> None:
        """Write it as an analysis does, with `changes` to its result."""
        writing: Any = importlib.import_module("common.writing")
        writing.write_result(self.out, replace(self.result, **changes), redraw=redraw)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Return a small analysis that was written."""
    writing: Any = importlib.import_module("common.writing")
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    told = {"command": "python analysis.py", "seeds": "0-9"}
    tables, weights = {"numbers.csv": b"a,b\n1,2\n"}, {"weights.pt": b"1"}
    one = Made(tmp_path / "out", writing.Result({"drawing": figure}, tables, told, "# Page\n", weights))
    one.write(redraw=False)
    return one


def test_figures_are_drawn_again_and_no_number_changes(made: Made) -> None:
    """The provenance stays that of the numbers, and says what drew, and which tables are new."""
    (made.out / "drawing.svg").write_text("an old drawing")
    (made.out / "drawing.pdf").unlink()
    (made.out / "weights.pt").write_bytes(b"2")
    tables = made.result.tables | {"more.csv": b"c\n3\n"}
    made.write(redraw=True, tables=tables, told={"command": "another"}, page="# Better worded\n")
    assert (made.out / "drawing.svg").read_text().startswith("<?xml")
    assert (made.out / "drawing.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name: path.read_bytes() for path in made.out.glob("*.csv")} == tables
    assert (made.out / "README.md").read_text() == "# Better worded\n"
    assert (made.out / "weights.pt").read_bytes() == b"2"  # only measuring makes them
    told = json.loads((made.out / "provenance.json").read_bytes())
    drawn = told.pop("drawn")
    assert told == made.result.told
    assert drawn["tables"] == ["more.csv"]
    assert {"command", "written", "versions"} <= set(drawn)
    made.write(redraw=True, tables=tables)
    assert json.loads((made.out / "provenance.json").read_bytes())["drawn"]["tables"] == ["more.csv"]


def test_a_number_that_would_change_is_refused(made: Made) -> None:
    """One digit is enough; nothing is written."""
    before = {path.name: path.read_bytes() for path in made.out.iterdir()}
    with pytest.raises(RecordError, match="was made from other measurements"):
        made.write(redraw=True, tables={"numbers.csv": b"a,b\n1,3\n"})
    assert {path.name: path.read_bytes() for path in made.out.iterdir()} == before
    (made.out / "numbers.csv").unlink()
    with pytest.raises(RecordError, match="holds no table yet"):
        made.write(redraw=True)


def test_only_to_draw_nothing_is_measured(tmp_path: Path) -> None:
    """What was kept is taken, whichever version measured it; what was not is refused."""
    keeping: Any = importlib.import_module("common.keeping")
    key = {"model": "m", "seed": 0}
    frame = pd.DataFrame({"a": [1.0]})

    def measure() -> pd.DataFrame:
        raise AssertionError("it measured")

    with pytest.raises(RecordError, match="was not measured"):
        keeping.kept(tmp_path, key, measure, redraw=True)
    keeping.kept(tmp_path, key, lambda: frame)
    (told,) = tmp_path.glob("*.json")
    told.write_text(json.dumps(json.loads(told.read_bytes()) | {"torch": "1.0"}))
    assert keeping.kept(tmp_path, key, measure, redraw=True).equals(frame)
    with pytest.raises(AssertionError, match="it measured"):  # a control: else the version matters
        keeping.kept(tmp_path, key, measure)


@pytest.mark.parametrize("script", ["shortcut_powers", "minus_one", "theory_elsewhere", "initial_gradients"])
def test_every_script_refuses_to_draw_what_was_not_measured(script: str, tmp_path: Path) -> None:
    """In one line, with exit status 2."""
    places = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    command = importlib.import_module(script).main
    result = CliRunner().invoke(command, ["--data", "synthetic", *places, "--redraw"])
    assert result.exit_code == 2
    assert "was not measured" in result.output
    assert not (tmp_path / "out").exists()
