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
