"""Formulas in text are typeset: on the story page, on a report's page, and in the documentation."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from gradflow.report.story.formulas import equation, inline
from gradflow.report.typesetting import typeset
from gradflow.statements import EQUATIONS
from gradflow.theory import LAWS

ROOT = Path(__file__).resolve().parents[2]
LITERAL = re.compile(r"_\{|\^[\w({−-]|(?<![A-Za-z0-9_.])[A-Za-zα-ωΑ-Ω][′\u0302]?_[A-Za-z0-9](?![A-Za-z0-9_])")


class Words(HTMLParser):
    """A page's text as it is read: without code, styles and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._passed = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._passed += tag in {"code", "pre", "style", "script"}
        del attrs

    def handle_endtag(self, tag: str) -> None:
        self._passed -= tag in {"code", "pre", "style", "script"}

    def handle_data(self, data: str) -> None:
        if not self._passed:
            self.pieces.append(data)


def literal(page: str) -> list[str]:
    """Return pieces of text in which a formula stands as it was typed."""
    return [piece for piece in Words(page).pieces if LITERAL.search(piece)]


def elements(markup: object) -> Counter[str]:
    """Return how many MathML elements of each kind there are in a formula."""
    return Counter(element.tag for element in ET.fromstring(str(markup)).iter())


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("x_{l+1}", "msub", ["x", "l+1"]),
        ("λ^k", "msup", ["λ", "k"]),
        ("h′_i", "msub", ["h′", "i"]),
        ("(3/4)^L", "msup", ["(3/4)", "L"]),
        ("(2/3)^((L−l)/2)", "msup", ["(2/3)", "(L−l)/2"]),
        ("2^−L", "msup", ["2", "−L"]),
        ("∏_{i=l}^{L−1}", "msubsup", ["∏", "i=l", "L−1"]),
    ],
)
def test_scripts_are_set_below_and_above(text: str, kind: str, parts: list[str]) -> None:
    """The whole is one element, of a base and its scripts; what was typed is its alternative text."""
    math = ET.fromstring(str(typeset(text)))
    assert math.get("alttext") == text
    (scripted,) = math
    assert scripted.tag == kind
    assert ["".join(part.itertext()) for part in scripted] == parts


@pytest.mark.parametrize(
    "text", ["grad_in_norm", "a & b < c", "stage1.b_1", "sum of x", "runs_2", "he2016-short"]
)
def test_names_are_left_as_they_are(text: str) -> None:
    """What is no formula is escaped, and nothing else."""
    assert "<math" not in typeset(text)
    assert typeset(text).unescape() == text


def test_a_value_stays_with_its_letter() -> None:
    """A bias and its value do not come apart at a line's end."""
    assert "".join(ET.fromstring(str(typeset("b_g = −6"))).itertext()) == "bg=−6"
    assert typeset("η_l = 0.9^l").count("<math") == 2


@pytest.mark.parametrize("text", [one.formula for one in EQUATIONS] + [law.title for law in LAWS.values()])
def test_nothing_is_left_literal(text: str) -> None:
    """Every statement and every prediction can be typeset."""
    assert literal(str(typeset(text))) == []


@pytest.mark.parametrize("latex", [r"\prod h'_i", "g'(x)", "h'"])
def test_a_prime_stands_at_its_letter(latex: str) -> None:
    """It is no superscript of its own, which would float."""
    assert not {"msubsup", "msup"} & set(elements(inline(latex)))


def test_no_number_stands_at_two_equations() -> None:
    """What follows from the paper's equation says so, and has not its number."""
    story = (ROOT / "gradflow/report/story/templates").glob("*.j2")
    used = [
        found for file in story for found in re.findall(r'equation\("(\w+)", "(\w+)"\)', file.read_text())
    ]
    labels = [re.search(r'class="label">([^<]*)<', equation(*one)) for one in used]
    shown = [label[1] for label in labels if label and label[1]]
    assert len(shown) >= 7
    assert len(set(shown)) == len(shown)


def test_the_story_has_no_formula_as_it_was_typed() -> None:
    """Neither in its text nor in its figures."""
    page = (ROOT / "reports" / "index.html").read_text(encoding="utf-8")
    assert literal(page) == []
    assert page.count("<math") > 60
    assert literal("<p>the factor ‖g_l‖ / ‖g_{l+1}‖</p>"), "a control"
    assert literal("<p>λ^k</p>"), "a control"
    assert not literal("<p><code>x_{l+1}</code> and grad_in_norm</p>"), "a control"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """The documentation's hook, which mkdocs loads from its file."""
    spec = importlib.util.spec_from_file_location("formulas", ROOT / "docs" / "formulas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_documentation_is_typeset(hook: ModuleType) -> None:
    """LaTeX between dollars and what is typed become MathML; code stays as it is."""
    source = "A unit: $x_{l+1} = f(y_l)$, `$x_1$`.\n\n$$y_l = h(x_l)$$\n"
    markdown = hook.on_page_markdown(source)
    assert markdown.count("<math") == 2
    assert "`$x_1$`" in markdown
    html = hook.on_page_content('<p title="x_l">of x_l &amp; λ^k</p><code>x_l</code>')
    assert html.count("<math") == 2
    assert html.startswith('<p title="x_l">of <math')
    assert "&amp;" in html
    assert html.endswith("<code>x_l</code>")


@pytest.mark.parametrize("page", ["equations.md", "statements.md"])
def test_pages_of_mathematics_have_no_formula_as_it_was_typed(hook: ModuleType, page: str) -> None:
    """Their sources have LaTeX between dollars, which other readers of Markdown typeset, too."""
    source = (ROOT / "docs" / page).read_text(encoding="utf-8")
    shown = hook.on_page_content(re.sub(r"`[^`]*`", "", hook.on_page_markdown(source)))
    assert literal(shown) == []
    assert "$" not in shown
    assert shown.count("<math") > 20
