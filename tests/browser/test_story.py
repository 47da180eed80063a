"""The story page as a browser shows it: opened from a file, on paper, on a phone, by its numbers' links."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from _pages import Open

from gradflow.report.story import write_story

REPORTS = Path(__file__).resolve().parents[2] / "reports"
WIDER = """() => [...document.querySelectorAll('.scroll')].filter((one) =>
    one.scrollWidth > document.documentElement.clientWidth + 1).map((one) => one.ariaLabel)"""


BROKEN = """() => {
    // Words with a digit whose characters stand in more than one line.
    const found = [];
    const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentElement.closest('svg, math, code, style')) continue;
        for (const word of node.data.matchAll(/[^ \\n\\u2013\\/-]*\\d[^ \\n\\u2013\\/-]*/g)) {
            const range = document.createRange();
            range.setStart(node, word.index);
            range.setEnd(node, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
            if (lines.size > 1) found.push(word[0]);
        }
    }
    return found;
}"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the story of three analyses."""
    folder = tmp_path_factory.mktemp("story")
    for key in ("table2_at_initialisation", "minus_one", "shortcut_powers"):
        leave = shutil.ignore_patterns("*.png")
        shutil.copytree(REPORTS / key, folder / "reports" / key, ignore=leave)
    return write_story(folder / "reports", folder / "out")[0]


def test_a_number_leads_to_its_command(story: Path, open_page: Open) -> None:
    """A click, or Enter where the tab key leads, goes to the analysis, which says how it was made."""
    view = open_page(story).page
    view.locator("#minus-one .number").first.click()
    assert view.evaluate("location.hash") == "#from-minus_one"
    target = view.locator("#from-minus_one")
    assert target.evaluate("(one) => one.matches(':target')")
    assert "python minus_one.py" in target.inner_text()
    view.locator("#shortcuts .number").first.focus()
    view.keyboard.press("Enter")
    assert view.evaluate("location.hash") == "#from-shortcut_powers"


def test_formulas_are_drawn_without_a_script(story: Path, open_page: Open) -> None:
    """Each formula has a size of its own: a sum with limits is higher than a line of text."""
    view = open_page(story, java_script_enabled=False).page
    heights = [box["height"] for one in view.locator("math").all() if (box := one.bounding_box())]
    assert len(heights) > 20
    assert min(heights) > 5
    assert max(heights) > 2 * min(heights)


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_scrolls_down_only(width: int, story: Path, open_page: Open) -> None:
    """Tables and figures that are wider scroll in themselves."""
    view = open_page(story, viewport={"width": width, "height": 800}).page
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert bool(view.evaluate(WIDER)) == (width == 320)


def test_print_is_whole(story: Path, open_page: Open) -> None:
    """On A4 nothing is cut off at the right."""
    view = open_page(story, viewport={"width": 718, "height": 1000}).page
    view.emulate_media(media="print")
    assert view.evaluate("document.documentElement.scrollWidth") <= 718
    assert view.evaluate(WIDER) == []


@pytest.mark.parametrize("width", [640, 718, 760])
def test_print_breaks_no_number(width: int, story: Path, open_page: Open) -> None:
    """A number, and what stands in a bracket, is in one line; nothing is cut off."""
    view = open_page(story, viewport={"width": width, "height": 1000}).page
    view.emulate_media(media="print")
    assert view.evaluate(BROKEN) == []
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    view.add_style_tag(content="@media print { td, td * { overflow-wrap: anywhere !important } }")
    assert len(view.evaluate(BROKEN)) > 0, "a control"


def test_scripts_of_formulas_stand_at_their_letters(story: Path, open_page: Open) -> None:
    """λᵏ is no higher than its line; a prime and a subscript are beside their letter."""
    view = open_page(story).page
    power = view.locator("#shortcuts p math:has(msup)").first
    above = "(one) => one.getBoundingClientRect()"
    base, script = (power.locator(f"msup > :nth-child({place})").evaluate(above) for place in (1, 2))
    size = power.evaluate("(one) => parseFloat(getComputedStyle(one).fontSize)")
    assert 0.15 * size < base["bottom"] - script["bottom"] < 0.7 * size
    primed = view.locator("#shortcuts msub").filter(has_text="′").first
    assert primed.text_content() == "h′i"
    letter, prime = (primed.locator(f"mrow > :nth-child({place})").first.evaluate(above) for place in (1, 2))
    assert abs(prime["left"] - letter["right"]) < letter["width"]
