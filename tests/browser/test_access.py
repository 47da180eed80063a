"""The page with a keyboard and a screen reader, and the view of runs that are unusual."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from _pages import Open
from _records import make_record

from gradflow.record import Record
from gradflow.report import write_report

CONTROLS = {
    *("button", "slider", "spinbutton", "combobox", "searchbox", "textbox", "link", "checkbox"),
    *("DisclosureTriangle", "image", "region", "table", "tooltip"),
}
FOCUSED = "document.activeElement.dataset.unit ?? document.activeElement.tagName"


def controls(view: Any) -> list[tuple[str, str]]:
    """Return role and name of everything that can be operated or looked at, as a screen reader gets them."""
    session = view.context.new_cdp_session(view)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node
    ]
    return [(role, name.strip()) for role, name in named if role in CONTROLS]


def test_everything_has_a_name(page: Path, open_page: Open) -> None:
    """No control, picture or table is nameless to a screen reader, and the view's have the right names."""
    view = open_page(page).explore()
    view.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = controls(view)
    assert [role for role, name in found if not name] == []
    assert {
        ("combobox", "Quantity"),
        ("combobox", "Run"),
        ("combobox", "Stage"),
        ("spinbutton", "First unit"),
        ("spinbutton", "Last unit"),
        ("slider", "Iteration"),
        ("searchbox", "Filter units"),
        ("button", "Show all"),
        ("button", "Unit 5"),
        ("button", "Sort by cos(s, b), cosine, backward"),
    } <= set(found)
    assert len({name for role, name in found if role == "image"}) == len(
        [1 for role, _ in found if role == "image"]
    )
    view.evaluate("document.querySelector('label[for=explore-iteration]').remove()")
    assert ("slider", "") in controls(view)


def test_focus_stays_on_the_chosen_unit(page: Path, open_page: Open) -> None:
    """Enter chooses the unit and leaves the keyboard where it was; Tab and the arrows go on from there."""
    view = open_page(page).explore()
    view.locator("#explore-rows button").nth(3).focus()
    view.keyboard.press("Enter")
    assert "unit=3" in view.evaluate("location.hash")
    assert view.evaluate(FOCUSED) == "3"
    assert view.locator("#explore-rows [aria-pressed=true]").inner_text() == "3"
    view.keyboard.press("Tab")
    assert view.evaluate(FOCUSED) == "4"
    view.keyboard.press("ArrowUp")
    view.keyboard.press("ArrowUp")
    assert view.evaluate(FOCUSED) == "2"
    view.keyboard.press("End")
    view.keyboard.press("ArrowDown")
    assert view.evaluate(FOCUSED) == "5"
    view.keyboard.press("Enter")
    assert view.evaluate(FOCUSED) == "5"
    view.keyboard.press("Enter")
    assert "unit=" not in view.evaluate("location.hash")
    assert view.evaluate(FOCUSED) == "5"


def test_every_columns_meaning_is_text(page: Path, open_page: Open) -> None:
    """What a heading says to a pointer stands in the list of columns too, to which each table links."""
    view = open_page(page).explore()
    headings = view.evaluate(
        "[...document.querySelectorAll('th[title]')].map((one) => [one.textContent, one.title])"
    )
    told = view.evaluate("""() => [...document.querySelectorAll('#columns dt')].map(
        (one) => [one.textContent, one.nextElementSibling.textContent])""")
    assert len(headings) > 40
    # Subscripts are text in a hint, x_{l+1}, and typeset in the list.
    assert {(name, re.sub("[_{}]", "", hint)) for name, hint in headings} <= {
        (name, re.sub("[_{}]", "", meaning)) for name, meaning in told
    }
    view.locator("p.files a").first.click()
    assert view.evaluate("location.hash") == "#columns-stages"
    assert view.locator("#columns-stages").evaluate("(one) => one.getBoundingClientRect().top") < 900
    view.locator(".panel summary").click()
    meanings = view.inner_text("#explore-meanings")
    assert all(text in meanings for text in ("cos(s, b)", "cosine, backward", "‖xₗ‖", "signal norm"))


def test_a_stage_that_is_not_there(page: Path, open_page: Open) -> None:
    """A link to a stage that the run has not shows all of it."""
    opened = open_page(page, "#explore?stage=9&unit=5")
    view = opened.explore()
    assert view.input_value("#explore-stage") == ""
    assert view.locator("#explore-stage option:checked").inner_text() == "all"
    assert opened.column(0) == [str(unit) for unit in range(6)]
    assert "Unit 5" in view.inner_text("#explore-unit")


def moved(record: Record, by: int) -> Record:
    """Return `record` with its units counted from `by`."""
    units = record.units.assign(unit=record.units["unit"] + by)
    return Record(units, record.parameters, meta=record.meta)


def ticks(view: Any, axis: str) -> list[str]:
    """Return what stands along an axis of the chart by unit."""
    return list(view.locator(f"#explore-depth .{axis}tick text").all_text_contents())


@pytest.mark.parametrize(("count", "first"), [(1, 4), (9, 100)], ids=["one unit", "units from 100 on"])
def test_the_axes_fit_the_units(count: int, first: int, open_page: Open, tmp_path: Path) -> None:
    """The units' axis begins with the first one there is, each with its number; the other has numbers too."""
    moved(make_record(stages=(count,)), first).save(tmp_path / "run")
    view = open_page(write_report([tmp_path], tmp_path / "out")).explore()
    assert view.input_value("#explore-from") == str(first)
    assert ticks(view, "x") == [str(unit) for unit in range(first, first + count)]
    assert len(ticks(view, "y")) >= 2
    assert len(set(ticks(view, "y"))) == len(ticks(view, "y"))


def test_zeros_on_a_logarithmic_axis_are_said(open_page: Open, tmp_path: Path) -> None:
    """What is exactly 0, or null, is left blank, and the view says how many."""
    record = make_record(stages=(6,))
    record.units.loc[:1, "grad_in_norm"] = 0.0
    record.units.loc[2, "grad_in_norm"] = float("nan")
    record.save(tmp_path / "run")
    view = open_page(write_report([tmp_path], tmp_path / "out")).explore()
    said = view.inner_text("#explore-missing")
    assert re.search(r"Of 6 values .*: 1 are null, or not finite; 2 are exactly 0", said)
    view.select_option("#explore-quantity", "x_norm")
    view.wait_for_selector("#explore-missing", state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_heat_map_has_colours_of_its_own(scheme: str, page: Path, open_page: Open) -> None:
    """Colours that go two ways from a middle are no network's, and fade into the page's ground."""
    view = open_page(page, "#explore?quantity=backward_cosine", color_scheme=scheme).explore()
    scale = view.evaluate("document.getElementById('explore-surface').data[0].colorscale")
    networks = view.evaluate("""() => [...Array(8).keys()].map((number) =>
        getComputedStyle(document.documentElement).getPropertyValue(`--network-${number}`).trim())""")
    colours = [colour for _, colour in scale]
    assert not set(colours) & set(networks)
    brightness = sum(int(colours[len(colours) // 2][start : start + 2], 16) for start in (1, 3, 5)) / 3
    assert (brightness > 200) == (scheme == "light")
    assert [place for place, _ in scale][:: len(scale) // 2] == [0, 0.5, 1]
