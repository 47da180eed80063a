"""The interactive view: what it shows is what was measured, and a link to it restores it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from _pages import Open
from _records import make_record

from gradflow.record import Record
from gradflow.report import write_report


def shown(text: str) -> float:
    """Return the number that a cell says."""
    mantissa, _, power = text.replace("−", "-").partition("·10")
    return float(mantissa) * 10.0 ** int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)


def measured(record: Record, column: str, iteration: int = 400) -> list[float]:
    """Return the numbers of the record, unit by unit."""
    units = record.units[record.units["iteration"] == iteration].sort_values("unit")
    return [float(value) for value in units[column]]


def test_table_shows_what_was_measured(page: Path, trained: Record, open_page: Open) -> None:
    """Cells are the last iteration's numbers, to four digits; after the slider, the first's."""
    opened = open_page(page)
    view = opened.explore()
    np.testing.assert_allclose(
        [shown(cell) for cell in opened.column(4)], measured(trained, "grad_in_norm"), rtol=1e-3
    )
    view.locator("#explore-iteration").press("Home")
    assert view.inner_text("#explore-iteration-value") == "0"
    first = measured(trained, "grad_in_norm", 0)
    np.testing.assert_allclose([shown(cell) for cell in opened.column(4)], first, rtol=1e-3)
    assert not np.allclose(first, measured(trained, "grad_in_norm"), rtol=1e-2)


def test_headings_sort(page: Path, trained: Record, open_page: Open) -> None:
    """A heading sorts, once more the other way, by mouse and by keyboard, and says so to screen readers."""
    opened = open_page(page)
    view = opened.explore()
    head = view.locator("th[data-column=cancellation_p50]")
    order = [str(unit) for unit in np.argsort(measured(trained, "cancellation_p50"), kind="stable")]
    head.locator("button").click()
    assert opened.column(0) == order
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert opened.column(0) == order[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    assert order != sorted(order)


def test_filter_leaves_what_it_names(page: Path, open_page: Open) -> None:
    """All words must fit; where none does, it is said."""
    opened = open_page(page)
    view = opened.explore()
    for words, expected in (
        ("projection", ["0", "3"]),
        ("stage 1", ["3", "4", "5"]),
        ("identity stage 1", ["4", "5"]),
        ("STAGES.0.2", ["2"]),
        ("", ["0", "1", "2", "3", "4", "5"]),
    ):
        view.fill("#explore-filter", words)
        assert opened.column(0) == expected
        assert view.inner_text("#explore-count") == f"{len(expected)} of 6 units"
    view.fill("#explore-filter", "nothing is called this")
    assert opened.column(0) == []
    assert "No unit is left" in view.inner_text("#explore-count")


def test_pointing_shows_the_units_numbers(page: Path, trained: Record, open_page: Open) -> None:
    """Pointing at a unit's column of the chart shows its numbers; a click keeps them."""
    view = open_page(page).explore()
    view.select_option("#explore-stage", "1")
    assert view.input_value("#explore-from") == "3"
    view.wait_for_function("document.getElementById('explore').dataset.drawn === location.hash")
    point = view.locator("#explore-depth .trace >> nth=0 >> .point >> nth=4").bounding_box()
    assert point is not None
    view.mouse.move(point["x"] + 3, point["y"] + 3)
    view.wait_for_selector("#explore-tip:not([hidden])")
    tip = view.inner_text("#explore-tip")
    assert "Unit 4 (stages.1.1, stage 1, identity)" in tip
    number = tip.split("signal norm")[1].split()[0]
    assert shown(number) == pytest.approx(measured(trained, "x_norm")[4], rel=1e-3)
    view.mouse.click(point["x"] + 3, point["y"] + 3)
    assert "Unit 4" in view.inner_text("#explore-unit")
    assert view.locator("#explore-rows tr[aria-current]").count() == 1


def test_clicking_the_surface_chooses_iteration_and_unit(page: Path, open_page: Open) -> None:
    """The lower left corner is the first iteration and unit."""
    view = open_page(page).explore()
    chart = view.locator("#explore-surface .nsewdrag")
    box = chart.bounding_box()
    assert box is not None
    chart.click(position={"x": 4, "y": box["height"] - 4})
    assert view.inner_text("#explore-iteration-value") == "0"
    assert view.inner_text("#explore-unit").startswith("Unit 0 ")


def state_of(view: object) -> dict[str, object]:
    """Return everything that is chosen, and the table under it."""
    script = """() => ({
        controls: [...document.querySelectorAll('#explore select, #explore input')].map((one) => one.value),
        unit: document.getElementById('explore-unit').textContent,
        table: document.getElementById('explore-rows').textContent,
        sorted: document.querySelector('#explore [aria-sort]').textContent,
        title: document.getElementById('explore-title').textContent,
        drawn: document.getElementById('explore').dataset.drawn,
    })"""
    found: dict[str, object] = view.evaluate(script)  # type: ignore[attr-defined]
    return found


def test_a_link_restores_the_view(page: Path, open_page: Open) -> None:
    """What was chosen stands in the address; opened elsewhere, the address shows the same."""
    view = open_page(page).explore()
    at_first = state_of(view)
    view.select_option("#explore-quantity", "branch_norm")
    view.fill("#explore-from", "1")
    view.press("#explore-from", "Enter")
    view.locator("#explore-iteration").press("ArrowLeft")
    view.locator("th[data-column=x_norm] button").click()
    view.fill("#explore-filter", "identity")
    view.locator("#explore-rows button").first.click()
    view.wait_for_function("document.getElementById('explore').dataset.drawn === location.hash")
    chosen = state_of(view)
    link = view.evaluate("location.hash")
    assert "iteration=300" in link
    again = open_page(page, link).explore()
    again.wait_for_function("document.getElementById('explore').dataset.drawn === location.hash")
    assert state_of(again) == chosen
    assert chosen != at_first
    again.click("#explore-reset")
    again.wait_for_function("(link) => document.getElementById('explore').dataset.drawn !== link", arg=link)
    assert {**state_of(again), "drawn": "#"} == {**at_first, "drawn": "#"}


def test_a_link_to_another_run(page: Path, open_page: Open) -> None:
    """A run is named by its folder; it has no slider where it has one iteration, and its own units."""
    opened = open_page(page, "#explore?run=resnet-1&quantity=x_norm")
    view = opened.explore()
    assert view.locator("#explore-over-time").is_hidden()
    assert view.locator("#explore-surface").is_hidden()
    assert opened.column(0) == [str(unit) for unit in range(8)]


@pytest.mark.parametrize(
    "link",
    [
        "#explore?quantity=none&run=none&stage=99&from=9&to=2&iteration=x&unit=77&sort=none",
        "#explore?run=%3Cscript%3E&filter=%00&sort=-&from=-5&unit=1e9",
        "#explore?&&==&%E0%A4%A",
    ],
)
def test_a_link_that_names_nothing(link: str, page: Path, open_page: Open) -> None:
    """Whatever a link says, a view is shown."""
    view = open_page(page, link).explore()
    assert view.locator("#explore-rows tr").count() >= 0
    assert view.input_value("#explore-quantity") == "grad_in_norm"


def test_a_quantity_without_values_is_said(open_page: Open, tmp_path: Path) -> None:
    """Where every value is null, that is said in place of an empty chart."""
    make_record("plain", stages=(3,), shortcuts=False).save(tmp_path / "plain-1")
    view = open_page(
        write_report([tmp_path], tmp_path / "out"), "#explore?quantity=cancellation_p50"
    ).explore()
    assert "has no value of the cancellation" in view.inner_text("#explore-missing")
    view.select_option("#explore-quantity", "grad_in_norm")
    view.wait_for_selector("#explore-missing", state="hidden")
