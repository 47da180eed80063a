"""`Record` in memory."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from _records import make_meta, make_record

from gradflow.errors import RecordError
from gradflow.record import Record, schema_markdown
from gradflow.record.metadata import META, as_json, mask_paths, validate_meta
from gradflow.record.schema import TABLES


def test_tables_conform_to_the_schema() -> None:
    """Whatever frames a record is made of, it has every column of the schema, typed, in order."""
    record = Record(units=pd.DataFrame({"unit": [0], "x_norm": [1]}), meta=make_meta())
    assert list(record.units) == [column.name for column in TABLES["units"]]
    assert record.units["x_norm"].dtype == "float64"
    assert record.units["span_end"].isna().all()
    assert len(record.steps) == 0


def test_undeclared_column_is_refused() -> None:
    """A column that the schema does not declare cannot get into a record."""
    with pytest.raises(RecordError, match=r"units.*does not declare: flavour"):
        Record(units=pd.DataFrame({"flavour": [1]}))
    with pytest.raises(RecordError, match=r"units.*does not declare: flavour"):
        Record.from_columns({"units": {"flavour": np.array([1])}}, {}, make_meta())


def test_a_record_of_columns_is_that_of_frames() -> None:
    """Columns become the tables that their frames would, integers whole and null where there is none."""
    large = 2**62 + 1  # which float64 cannot hold
    columns = {"numel": np.array([large, 7]), "span_end": np.array([3, np.nan]), "name": ["a", None]}
    keys = {"iteration": 0, "seed": None, "batch_index": large}
    made = Record.from_columns({"units": {**columns, "x_norm": np.array([1.5, np.nan])}}, keys, make_meta())
    frame = pd.DataFrame(
        {
            "iteration": [0, 0],
            "batch_index": [large, large],
            "numel": [large, 7],
            "span_end": pd.array([3, None], dtype="Int64"),
            "name": ["a", None],
            "x_norm": [1.5, np.nan],
        }
    )
    expected = Record(units=frame, meta=make_meta())
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(made, table), getattr(expected, table))
    assert made.units["batch_index"].tolist() == [large, large]
    assert made.meta == expected.meta
    made.units.columns.name = "named"
    assert Record.from_columns({"units": columns}, keys, make_meta()).units.columns.name is None


@pytest.mark.parametrize("seed", [1.5, "1", 2**63])
def test_keys_that_are_no_integers_are_refused(seed: object) -> None:
    """No key is rounded or cut to an integer; the one that would be is named."""
    with pytest.raises(RecordError, match="seed must be a whole number"):
        Record.from_columns({"steps": {"loss": np.array([1.0])}}, {"seed": seed}, make_meta())


def test_keys_that_are_whole_are_taken() -> None:
    """Whatever type they are of."""
    for seed in (3, 3.0, np.int32(3), np.float64(3)):
        record = Record.from_columns({"steps": {"loss": np.array([1.0])}}, {"seed": seed}, make_meta())
        assert record.steps["seed"].tolist() == [3]


def test_empty_tables_of_two_records_are_apart() -> None:
    """What is written to an empty table of one record is not in another's."""
    one, other = Record(), Record()
    one.checks.loc[0, "error"] = 1.0
    one.steps["remark"] = "mine"
    one.paths.columns.name = one.paths.index.name = "named"
    assert len(other.checks) == len(Record().checks) == 0
    assert list(other.steps) == list(Record().steps) == [column.name for column in TABLES["steps"]]
    for record in (other, Record()):
        assert record.paths.columns.name is record.paths.index.name is None


def test_json_has_null_for_what_is_not_finite() -> None:
    """NaN, infinity and missing values are null in JSON, and integers stay integers."""
    units = pd.DataFrame(
        {"unit": [0, 1, 2], "x_norm": [1.5, float("nan"), float("inf")], "span_end": [3, None, 3]}
    )
    loss = {"name": "mean", "value": float("nan")}
    document = Record(units=units, meta=make_meta(loss=loss)).to_json()
    text = json.dumps(document, allow_nan=False)
    rows = json.loads(text)["units"]
    assert [row["x_norm"] for row in rows] == [1.5, None, None]
    assert [row["span_end"] for row in rows] == [3, None, 3]
    assert [type(row["unit"]) for row in rows] == [int, int, int]
    assert document["meta"]["loss"] == {"name": "mean", "value": None}
    assert list(document) == ["schema_version", "meta", "units", "parameters", "checks"]


def test_json_keeps_every_number_exactly() -> None:
    """Numbers survive JSON bit for bit, booleans as booleans."""
    record = make_record(stages=(2, 2))
    document = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert [row["grad_in_norm"] for row in document["units"]] == record.units["grad_in_norm"].tolist()
    assert [row["holds"] for row in document["checks"]] == record.checks["holds"].tolist()


def test_concat_stacks_seeds() -> None:
    """Stacking keeps each record's rows and lists the seeds; the loss is the mean."""
    records = [
        make_record(stages=(3,), seed=seed, loss={"name": "cross_entropy", "value": 2.0 + seed})
        for seed in (4, 7)
    ]
    stacked = Record.concat(records)
    assert stacked.meta["seeds"] == [4, 7]
    assert stacked.meta["loss"]["value"] == 7.5
    assert stacked.units["seed"].tolist() == [4, 4, 4, 7, 7, 7]
    half = stacked.units.iloc[3:].reset_index(drop=True)
    pd.testing.assert_frame_equal(half, records[1].units)
    assert stacked.meta["batches"] == 1


def test_concat_counts_batches_and_names_checkpoints() -> None:
    """Batches are counted, and records of several checkpoints say so in a note."""
    trained = {"name": "b.pt", "sha256": "0" * 64, "iteration": 100}
    stacked = Record.concat(
        [
            make_record(stages=(2,)),
            make_record(stages=(2,), batch_index=1),
            make_record(stages=(2,), iteration=100, checkpoint=trained),
        ]
    )
    assert stacked.meta["batches"] == 2
    assert stacked.meta["checkpoint"] is None
    assert stacked.meta["notes"] == ["Measured on several checkpoints: none, b.pt."]


def test_concat_of_one_changes_nothing() -> None:
    """Stacking a single record gives its numbers and metadata again."""
    record = make_record(stages=(2,))
    stacked = Record.concat([record])
    pd.testing.assert_frame_equal(stacked.units, record.units)
    assert stacked.meta == record.meta


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bn": "frozen"}, "differ in 'bn'"),
        ({"model": {"name": "x", "options": {}, "class": "X", "parameters": 1}}, "differ in 'model'"),
        ({"loss": {"name": "mean", "value": 1.0}}, "differ in their loss"),
        ({"batch_size": 8}, "differ in 'batch_size'"),
    ],
)
def test_concat_refuses_what_cannot_be_compared(changes: dict[str, object], message: str) -> None:
    """Records that were measured differently are not stacked."""
    with pytest.raises(RecordError, match=message):
        Record.concat([make_record(stages=(2,)), make_record(stages=(2,), seed=1, **changes)])


def test_concat_refuses_to_count_twice() -> None:
    """The same seed, iteration and batch twice would make a false interval."""
    with pytest.raises(RecordError, match=r"iteration 0, seed 0, batch 0.*twice"):
        Record.concat([make_record(stages=(2,)), make_record(stages=(2,))])


def test_concat_of_nothing_is_refused() -> None:
    """There is no record of nothing."""
    with pytest.raises(RecordError, match="no record to stack"):
        Record.concat([])


@pytest.mark.parametrize("key", [key.name for key in META if key.required])
def test_every_metadata_key_is_required(key: str) -> None:
    """Metadata that lacks a key is refused by its name."""
    meta = make_meta()
    del meta[key]
    with pytest.raises(RecordError, match=f"lacks '{key}'"):
        validate_meta(meta)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batch_size", "32", "has str for 'batch_size', expected int"),
        ("threads", True, "has bool for 'threads', expected int"),
        ("checkpoint", "a.pt", "has str for 'checkpoint', expected dict or null"),
        ("bn", "train", "BN mode is 'train', expected batch, running, frozen"),
        ("model", {"name": "a"}, "lacks 'model.options': that the builder was given"),
        ("flavour", 1, "unknown key 'flavour'"),
        ("loss", {}, "lacks 'loss.name'"),
        ("loss", {"name": "a", "value": "high"}, "has str for 'loss.value', expected float or null"),
        ("checkpoint", {"name": "a", "iteration": "ten"}, "has str for 'checkpoint.iteration'"),
        ("seeds", [0, {"a": 1}], r"has dict for 'seeds\[1\]', expected int"),
        ("seeds", 3, "has int for 'seeds', expected list of int"),
        ("versions", {"torch": None}, "has NoneType for 'versions.torch', expected str"),
        ("skipped", ["x"], r"has str for 'skipped\[0\]', expected dict"),
        ("skipped", [{"what": "x"}], r"lacks 'skipped\[0\].why'"),
        ("notes", [{"a": 1}], r"has dict for 'notes\[0\]', expected str"),
        ("training", {"x": 1}, "lacks 'training.iteration'"),
        ("batch_size", 2**64, "a number beyond 64 bits for 'batch_size'"),
    ],
)
def test_wrong_metadata_is_refused(key: str, value: object, message: str) -> None:
    """Metadata of a wrong type is refused, saying what was expected."""
    with pytest.raises(RecordError, match=message):
        validate_meta(make_meta(**{key: value}))


def test_metadata_that_json_cannot_hold_is_refused() -> None:
    """An object that JSON has no place for is named."""
    with pytest.raises(RecordError, match="cannot hold a set"):
        as_json({"seeds": {1, 2}})


@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        (["gradflow", "probe", "--model", "preact164"], "gradflow probe --model preact164"),
        (["--checkpoint", "/home/ann/a.pt"], "--checkpoint a.pt"),
        (["--out=runs/a/"], "--out=a"),
        (["--data", "folder:/data/cifar/"], "--data folder:cifar"),
        (["--loss", "package.module:callable"], "--loss package.module:callable"),
    ],
)
def test_paths_are_masked_to_names(arguments: list[str], masked: str) -> None:
    """Directories of a command line do not get into a record."""
    assert mask_paths(arguments) == masked


def test_reference_names_every_column_and_key() -> None:
    """The format's reference page has a row for each column and each metadata key."""
    page = schema_markdown()
    for columns in TABLES.values():
        for column in columns:
            assert f"| `{column.name}` | {column.kind} |" in page
    for key in META:
        assert f"| `{key.name}` | {key.told_types} |" in page
        for part in (*key.parts, *(key.each.parts if key.each else ())):
            assert f"{part.name}` | {part.told_types} | {part.meaning}" in page
