"""The interactive view's data: as measured, to sixteen bits, and never markup."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _pages import EVIL, ITERATIONS, training_record
from _records import make_record
from hypothesis import given
from hypothesis import strategies as st

from gradflow.record import Record
from gradflow.report import exploration, figures
from gradflow.report.exploration import QUANTITIES, embed_json, explore
from gradflow.report.page import render_page
from gradflow.report.quantising import Quantised, quantise
from gradflow.report.runs import Run, load_runs

NUMBERS = st.floats(-1e12, 1e12, allow_nan=False).filter(lambda one: one == 0 or abs(one) > 1e-200)
NULLS = st.sampled_from([np.nan, np.inf, -np.inf])


@given(values=st.lists(NUMBERS | NULLS, max_size=40), scale=st.sampled_from(["log", "asinh", "linear"]))
def test_codes_are_numbers_to_half_a_step(values: list[float], scale: Any) -> None:
    """What is finite comes back within half a step on its scale, zero as zero, and what is not as null."""
    given_values = np.array(values)
    found = quantise(given_values, scale)
    back = found.values
    defined = np.isfinite(given_values) & ((given_values >= 0) | (scale != "log"))
    assert (np.isnan(back) == ~defined).all()
    forward = {"log": np.log, "asinh": np.arcsinh, "linear": np.asarray}[scale]
    kept = defined & ((given_values != 0) | (scale != "log"))
    step = (found.high - found.low) / 65533
    rounding = 1e-12 * max(abs(found.low), abs(found.high), 1.0)
    assert (np.abs(forward(back[kept]) - forward(given_values[kept])) <= step / 2 + rounding).all()
    assert (back[defined & ~kept] == 0).all()


def test_norms_over_many_decades_keep_their_digits() -> None:
    """Eighty decades to better than three parts in a thousand; evenly spaced codes would lose nearly all."""
    values = np.geomspace(1e-80, 1.0, 500)
    np.testing.assert_allclose(quantise(values, "log").values, values, rtol=3e-3)
    assert (quantise(values, "linear").values < 1e-6).sum() > 400


def explored(tmp_path: Path, *records: Record) -> tuple[list[Run], dict[str, Any]]:
    """Save `records`, load them for a report, and return what its view reads."""
    for number, record in enumerate(records):
        record.save(tmp_path / f"run-{number}")
    runs = load_runs([tmp_path])
    return runs, explore(runs)


def decoded(run: dict[str, Any], quantity: int) -> np.ndarray:
    """Return a quantity's values by unit and iteration, from what the page holds."""
    codes = np.frombuffer(gzip.decompress(base64.b64decode(run["codes"])), "<u2")
    shape = (len(QUANTITIES), len(run["units"]["unit"]), len(run["iterations"]))
    low, high = run["ranges"][quantity]
    return Quantised(codes.reshape(shape)[quantity], QUANTITIES[quantity].scale, low, high).values


def test_every_iteration_and_unit_is_there(tmp_path: Path) -> None:
    """The page's codes are the record's numbers, by unit and iteration, in every quantity."""
    record = training_record()
    _, data = explored(tmp_path, record)
    (run,) = data["runs"]
    assert run["iterations"] == list(ITERATIONS)
    assert run["measured"] == len(ITERATIONS)
    assert run["units"]["shortcut"] == ["projection", "identity", "identity"] * 2
    for number, quantity in enumerate(QUANTITIES):
        if quantity.column not in record.units:
            continue
        table = record.units.pivot_table(index="unit", columns="iteration", values=quantity.column)
        np.testing.assert_allclose(
            decoded(run, number), table.to_numpy(float), rtol=1e-3, atol=1e-4, err_msg=quantity.column
        )


def test_repetitions_are_averaged(tmp_path: Path) -> None:
    """Of several seeds, norms are geometric means over them, as in the figures."""
    records = [make_record(stages=(3,), seed=seed) for seed in range(3)]
    _, data = explored(tmp_path, Record.concat(records))
    norms = np.stack([record.units["grad_in_norm"].to_numpy(float) for record in records])
    means = np.exp(np.log(norms).mean(axis=0))
    np.testing.assert_allclose(decoded(data["runs"][0], 0)[:, 0], means, rtol=1e-3)


def test_long_runs_are_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many cells iterations are left out evenly, first and last kept, and their number is told."""
    monkeypatch.setattr(exploration, "MOST_CELLS", 12)  # of 6 units × 4 iterations
    _, data = explored(tmp_path, training_record())
    assert data["runs"][0]["iterations"] == [0, 300, 400]
    assert data["runs"][0]["measured"] == 4


@given(text=st.text() | st.sampled_from([EVIL, "<!--", "]]>", "\u2028\u2029", '"\\', "\ud83d\ude00"]))
def test_data_stays_data(text: str) -> None:
    """Any string comes back from the page's JSON as it was, and leaves no mark that ends a script."""
    embedded = str(embed_json({text: [text]}))
    assert json.loads(embedded) == {text: [text]}
    assert not set(embedded) & set("<>&\u2028\u2029")


def test_policy_names_the_scripts_that_are_there(tmp_path: Path) -> None:
    """The page's policy has the digests of its script and of the unpacked library, and of nothing else."""
    runs, _ = explored(tmp_path, make_record(stages=(2,)))
    page = render_page(runs, [])
    (own,) = re.findall(r'<script type="module">(.*?)</script>', page, flags=re.DOTALL)
    (packed,) = re.findall(r'<script type="text/plain" id="explore-library">(.*?)</script>', page)
    library = gzip.decompress(base64.b64decode(packed)).decode()
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (own, library)]
    assert re.findall(r"sha256-([^&]+)&#39;", page) == digests
    assert "plotly.js v" in library[:100]
    assert "unsafe-eval" not in page[: page.index("<style>")]


def test_more_runs_than_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure with a panel a network shows the first few and says so; one of lines shows all."""
    monkeypatch.setattr(figures, "MOST_PANELS", 1)
    runs, _ = explored(tmp_path, make_record("one", stages=(2,)), make_record("two", stages=(2,)))
    drawn = {figure.kind.key: figure for figure in figures.draw_figures(runs)}
    assert drawn["forward"].remark == "The first 1 of 2 runs are drawn."
    assert "two (untrained)" not in drawn["forward"].inline
    assert drawn["gradient-norm"].remark == ""
    assert "two (untrained)" in drawn["gradient-norm"].inline
    assert all(figure.pdf.startswith(b"%PDF") for figure in drawn.values())
