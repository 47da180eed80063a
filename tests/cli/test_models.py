"""`gradflow models`."""

from __future__ import annotations

import csv
import io
import json


def test_table_fits_and_tells_of_other_networks(cli) -> None:
    """The table fits a terminal and says what else --model takes."""
    result = cli("models")
    assert result.status == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "torchvision:NAME" in result.stdout


def test_json_and_csv_list_the_same_networks(cli) -> None:
    """The formats agree; preact110 has the 1.7 million parameters that the paper states."""
    rows = json.loads(cli("models", "--format", "json").stdout)["models"]
    table = list(csv.DictReader(io.StringIO(cli("models", "--format", "csv").stdout)))
    assert [row["name"] for row in rows] == [row["name"] for row in table]
    (preact110,) = [row for row in rows if row["name"] == "preact110"]
    assert preact110["units"] == 54
    assert round(preact110["parameters"] / 1e6, 1) == 1.7
