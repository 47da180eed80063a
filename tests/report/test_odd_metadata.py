"""Whatever a record's metadata hold, a report says what is wrong with them by key, or shows them."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from _records import make_record

from gradflow.cli.entry import run as run_command
from gradflow.cli.printing import summary
from gradflow.comparison.comparability import differences_in_measuring
from gradflow.errors import IncompleteReportError, RecordError
from gradflow.record import META, Record
from gradflow.record.files import sha256
from gradflow.record.metadata import Key, as_json, validate_meta
from gradflow.report import write_report
from gradflow.report.comparability import find_differences
from gradflow.report.page import render_page
from gradflow.report.runs import Run, label_runs, load_runs, load_usable
from gradflow.theory import compare

Place = tuple[str | int, ...]
WRONG: tuple[Any, ...] = (
    *(None, True, -1, float("nan"), 2**70, "<b>{{ x }}</b> %s \ud800"),
    *([], {}, [None], [{"a": [1]}], {"a": None}, {"name": 1}),
)


def whole() -> Record:
    """Return a record that has a value for every documented key."""
    training = {
        "recipe": {"name": "he2016"},
        "iteration": 400,
        "data_seed": 0,
        "processes": 1,
        "batch_norm": "over the samples of a batch",
        "best": {"iteration": 300, "test_error": 0.1},
        "last_error": 0.2,
    }
    record = make_record(stages=(1,), skipped=[{"what": "a", "why": "b"}], notes=["A sentence."])
    checkpoint = {"name": "newest.pt", "sha256": "ab" * 32, "iteration": 400}
    model = record.meta["model"] | {"options": {"shortcut": "scale:0.5"}}
    return replace(
        record, meta=record.meta | {"training": training, "model": model, "checkpoint": checkpoint}
    )


def places(keys: tuple[Key, ...], value: Any, inside: Place = ()) -> Iterator[Place]:
    """Return where every documented value stands, in a value that has them all."""
    for key in keys:
        place = (*inside, key.name)
        yield place
        yield from places(key.parts, value[key.name], place)
        if key.each is not None:
            first: str | int = 0 if isinstance(value[key.name], list) else next(iter(value[key.name]))
            yield (*place, first)
            yield from places(key.each.parts, value[key.name][first], (*place, first))


def spoil(meta: dict[str, Any], place: Place, wrong: Any) -> dict[str, Any]:
    """Return `meta` with `wrong` at `place`."""
    spoilt = copy.deepcopy(meta)
    holder = spoilt
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = wrong
    return spoilt


def lacking(meta: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return `meta` without what stands at `place`."""
    spoilt = copy.deepcopy(meta)
    holder = spoilt
    for step in place[:-1]:
        holder = holder[step]
    del holder[place[-1]]
    return spoilt


WHOLE = whole()
PLACES = list(places(META, WHOLE.meta))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the record, for its head to be spoilt."""
    folder = tmp_path_factory.mktemp("odd") / "run"
    WHOLE.save(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Run:
    """Return the record as a report's run."""
    return load_runs([saved])[0]


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write `meta` into a record with its digest, as somebody's own program would."""
    head = json.loads((folder / "record.json").read_text())
    text = json.dumps(meta, sort_keys=True, ensure_ascii=False).encode(errors="replace").decode()
    head |= {"meta": json.loads(text), "meta_sha256": ""}
    head["meta_sha256"] = sha256(json.dumps(head["meta"], sort_keys=True, ensure_ascii=False).encode())
    (folder / "record.json").write_text(json.dumps(head))


def told(place: Place) -> str:
    """Return `place` as messages write it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def use(run: Run, meta: dict[str, Any]) -> None:
    """Do with `meta` what a report, `show` and `diff` do with it."""
    odd = replace(run, record=replace(run.record, meta=meta))
    label_runs([odd.meta, run.meta], ["a", "b"])
    assert "<h1>" in render_page([odd, run], [])
    find_differences([odd, run])
    differences_in_measuring(odd.meta, run.meta)
    compare(odd.record)
    assert summary(odd.meta)
    assert repr(odd.record)


@pytest.mark.parametrize("place", PLACES, ids=map(told, PLACES))
def test_every_documented_key_may_be_wrong(place: Place, saved: Path, loaded: Run, tmp_path: Path) -> None:
    """Any other value is refused by the key's name, saved and loaded alike, or is shown like a right one."""
    refused = []
    for meta in [*(spoil(WHOLE.meta, place, wrong) for wrong in WRONG), lacking(WHOLE.meta, place)]:
        try:
            validate_meta(meta)
            kept = as_json(meta)
        except RecordError as error:
            refused.append((meta, str(error)))
        else:
            use(loaded, kept)
    assert len(refused) >= 5, "most of these values are wrong for any key"
    for meta, why in refused:
        # Inside a value of another type there is nothing to name but the value.
        assert any(name in why for name in (told(place[:1]), "whole number beyond 64 bits", "BN mode"))
        write_meta(saved, meta)
        with pytest.raises(RecordError, match=r"run' is damaged: .*(metadata|BN mode)"):
            load_usable([saved])
    with pytest.raises(RecordError, match=re.escape(refused[0][1])):
        Record(meta=refused[0][0]).save(tmp_path / "run")


def test_places_are_all_of_the_reference(saved: Path) -> None:
    """What is spoilt above is every documented key, down to items; unspoilt, the record is fine."""
    assert {("loss", "value"), ("skipped", 0, "why"), ("seeds", 0), ("training", "best")} <= set(PLACES)
    assert len(PLACES) > len(META) + 15
    write_meta(saved, WHOLE.meta)
    assert len(load_runs([saved])) == 1


def test_the_good_runs_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run with odd metadata is named with its key, on the page and in the exit status; others are there."""
    for name in ("good", "odd"):
        make_record(name, stages=(2,)).save(tmp_path / "runs" / name)
    meta = make_record("odd").meta
    write_meta(tmp_path / "runs" / "odd", meta | {"loss": meta["loss"] | {"value": "high"}})
    why = (
        "the record 'odd' is damaged: the record's metadata has str for 'loss.value', expected float or null"
    )
    with pytest.raises(IncompleteReportError, match=r"loss\.value") as raised:
        write_report([tmp_path / "runs"], tmp_path / "out")
    page = html.unescape(raised.value.page.read_text(encoding="utf-8"))
    assert why in page
    assert "good (untrained)" in page
    for words in (
        ["show", f"{tmp_path}/runs/odd"],
        ["diff", f"{tmp_path}/runs/good", f"{tmp_path}/runs/odd"],
    ):
        assert run_command(words) == 2
        said = capsys.readouterr().err
        assert "'loss.value'" in said
        assert len(said.strip().splitlines()) == 1
