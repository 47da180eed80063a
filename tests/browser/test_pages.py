"""The page in print, dark, on a phone, without scripts, and with names that are markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pages import EVIL, Open

WIDEST = """() => Math.max(document.documentElement.scrollWidth,
    ...[...document.querySelectorAll('body *')]
        .filter((one) => !one.closest('.scroll') && !one.closest('svg') && one.getClientRects().length)
        .map((one) => Math.ceil(one.getBoundingClientRect().right)))"""
CLIPPED = """() => [...document.querySelectorAll('body *')]
    .filter((one) => !one.closest('svg') && one.checkVisibility()
        && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.tagName + ' ' + one.className + ' ' + one.textContent.slice(0, 40))"""
CONTRAST = """() => {
    const canvas = document.createElement('canvas').getContext('2d');
    const luminance = (name) => {
        canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        const parts = canvas.fillStyle.match(/[0-9a-f]{2}/g).map((two) => parseInt(two, 16) / 255)
            .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const networks = [...Array(8).keys()].map((number) => `--network-${number}`);
    const contrast = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const lines = Math.min(...networks.flatMap((name) =>
        ['--paper', '--band', '--page'].map((ground) => contrast(name, ground))));
    return Object.fromEntries(['--ink', '--muted', '--link', '--alarm', '--good', '--finding', '--grid'].map(
        (name) => [name, Math.min(contrast(name, '--page'), contrast(name, '--paper'))],
    ).concat([['lines', lines]]));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(scheme: str, page: Path, open_page: Open) -> None:
    """Every colour of text stands out from its ground as WCAG 2.1 asks for: 4.5 to 1, of lines 3 to 1."""
    view = open_page(page, color_scheme=scheme).explore()
    contrast = view.evaluate(CONTRAST)
    assert contrast.pop("--grid") < 4.5
    assert contrast.pop("lines") >= 3
    assert min(contrast.values()) >= 4.5, contrast
    ground = [
        int(part)
        for part in re.findall(r"\d+", view.evaluate("getComputedStyle(document.body).backgroundColor"))
    ]
    assert (max(ground) < 60) == (scheme == "dark")
    axis = view.locator("#explore-depth .xtick text").first.evaluate("(one) => getComputedStyle(one).fill")
    muted = view.evaluate("getComputedStyle(document.querySelector('.note')).color")
    assert axis == muted


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_is_wider_than_the_screen(width: int, page: Path, evil_page: Path, open_page: Open) -> None:
    """The page scrolls down only, on a phone too, and with names that are long."""
    for path in (page, evil_page):
        view = open_page(path, viewport={"width": width, "height": 800}).explore()
        assert view.evaluate(WIDEST) <= width
    view.evaluate(
        "document.body.append(Object.assign(document.createElement('div'), {style: 'width: 2000px'}))"
    )
    assert view.evaluate(WIDEST) > width


def count_pages(pdf: bytes) -> int:
    """Return how many pages a PDF has, by its page tree."""
    return max(int(count) for count in re.findall(rb"/Count (\d+)", pdf))


@pytest.mark.parametrize("opened", [False, True], ids=["closed", "opened"])
def test_print_is_whole(opened: bool, page: Path, open_page: Open) -> None:
    """On paper every figure is there, nothing is cut off, and the view's controls are left out."""
    view = open_page(page, viewport={"width": 718, "height": 1000}).page  # A4 less 1 cm at either side
    if opened:
        view.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    pdf = view.pdf(format="A4", margin={"left": "1cm", "right": "1cm"})
    figures = view.locator("figure").count()
    assert count_pages(pdf) >= figures / 3
    view.emulate_media(media="print")
    assert view.evaluate(CLIPPED) == []
    assert view.locator("#explore").is_hidden()
    assert view.locator("figure svg").first.is_visible()


def test_without_scripts_the_figures_are_there(page: Path, open_page: Open) -> None:
    """Nothing that needs a script is shown, and everything else is."""
    opened = open_page(page, java_script_enabled=False)
    assert opened.page.locator("#explore").is_hidden()
    assert opened.page.locator("nav >> text=Explore").is_hidden()
    assert all(one.is_visible() for one in opened.page.locator("figure svg").all())
    opened.page.locator("summary >> text=Units").first.click()
    assert opened.page.locator("details[open] td").first.is_visible()


def test_old_browser_says_so(page: Path, open_page: Open) -> None:
    """A browser that cannot unzip shows the figures, and says why it shows no more."""
    view = open_page(page, script="delete window.DecompressionStream").page
    assert "too old for the interactive view" in view.inner_text("#explore-missing")
    assert view.locator(".controls").is_hidden()


def test_names_run_nothing(evil_page: Path, open_page: Open) -> None:
    """Names with markup in them are shown as they are, in tables, charts and the page's title."""
    opened = open_page(evil_page)
    view = opened.explore()
    view.locator("#explore-rows button").first.click()
    assert EVIL in view.inner_text("#explore-unit")
    assert set(opened.column(1)) == {EVIL}
    assert EVIL in view.title()
    assert view.evaluate("window.ran") is None
    assert view.locator("#explore img, figure img, main img").count() == 0


SMUGGLED = (
    "<script>window.ran = 1</script>",
    "<img src='data:,' onerror='window.dropped = 1'>",
    "<script src='x.js'></script>",
)


def test_policy_stops_what_is_smuggled_in(page: Path, open_page: Open, tmp_path: Path) -> None:
    """Even if markup got into the page unescaped, the page's policy would not let it run or load."""
    text = page.read_text(encoding="utf-8").replace("<main>", f"<main>{''.join(SMUGGLED)}")
    spoilt = tmp_path / "spoilt.html"
    (tmp_path / "x.js").write_text("window.loaded = 1")
    spoilt.write_text(text, encoding="utf-8")
    opened = open_page(spoilt)
    opened.explore()
    ran = "[window.ran, window.dropped, window.loaded].filter((one) => one === 1).length"
    assert opened.page.evaluate(ran) == 0
    assert sum("Content Security Policy" in problem for problem in opened.problems) == len(SMUGGLED)
    opened.problems.clear()
    opened.requests.clear()
    free = tmp_path / "free.html"
    free.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text), encoding="utf-8")
    control = open_page(free)
    control.page.wait_for_function(f"{ran} === 3")
    control.requests.clear()


def test_keyboard_reaches_everything(page: Path, open_page: Open) -> None:
    """Tab goes through contents, controls, slider, filter and headings; each shows that it has the focus."""
    view = open_page(page).explore()
    reached, outlined = [], []
    for _ in range(60):
        view.keyboard.press("Tab")
        reached.append(view.evaluate("document.activeElement.id || document.activeElement.tagName"))
        outlined.append(view.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    expected = ["explore-quantity", "explore-run", "explore-stage", "explore-iteration", "explore-filter"]
    places = [reached.index(name) for name in expected]
    assert places == sorted(places)
    assert "BUTTON" in reached
    assert "none" not in outlined
